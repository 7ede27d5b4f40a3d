"""A Ray cluster: the same bytes as without, also where a machine is lost; B-frames, whole files and rows of results."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import pytest
from helpers import moving, write

import codec
from codec.cli import main
from codec.encoder import command
from eval import rd_curves
from eval.rows import read_frames, read_rows

pytest.importorskip("ray", reason="the package ray is not installed (pip install 'ncm-codec[cluster]')")

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
SETTINGS = {"mode": "bitfree", "model": "tiny", "qp": 12, "intra_period": 4, "hashes": True, "metrics": False}
FAST = ["--mode", "bitfree", "--model", "tiny", "--preset", "ultrafast", "--no-metrics"]


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


@pytest.fixture(scope="module")
def cluster(tiny_weights):
    """A cluster of one node on this machine."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", str(tiny_weights))
        patch.setenv("RAY_worker_niceness", "0")  # or a busy machine lets them wait
        made = in_time(lambda: Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False}))
        yield made
        made.shutdown()


@pytest.fixture
def lose(cluster):
    """Removes a second node of the cluster, once."""
    nodes = [in_time(lambda: cluster.add_node(**NODE))]

    def remove(*_):
        if nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            lost.append(True)

    lost = remove.lost = []
    yield remove
    if not lost:
        cluster.remove_node(nodes.pop())


def in_time(start):
    """What Ray starts; it gives its nodes 30 seconds."""
    try:
        return start()
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        pytest.skip("this machine is too busy for Ray to start its nodes in time")


ours = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
slow = pytest.mark.timeout(1500)


@slow
@ours
def test_a_lost_machine_changes_no_stream(tmp_path, cluster, lose):
    src = write(tmp_path / "seq.y4m", moving(21, 66, 50, step=3))
    codec.encode(src, tmp_path / "alone.ncm", workers=1, **SETTINGS)
    codec.encode(src, tmp_path / "cluster.ncm", ray=cluster.address, progress=lose, **SETTINGS)
    assert lose.lost
    assert (tmp_path / "cluster.ncm").read_bytes() == (tmp_path / "alone.ncm").read_bytes()


@slow
@ours
def test_a_lost_machine_changes_no_video(tmp_path, cluster, lose, monkeypatch, capfdbinary):
    """A whole `codec decode` to standard output, of B-frames with payload."""
    stream, shown = tmp_path / "a.ncm", [nullcontext(lose)]
    settings = SETTINGS | {"mode": "bitneed", "model": "small-bframe", "anchor_preset": "ultrafast"}
    codec.encode(write(tmp_path / "a.y4m", moving(13, 66, 50, step=3)), stream, workers=1, **settings)
    assert main(["decode", str(stream), "-o", "-", "--workers", "1"]) == 0
    alone = capfdbinary.readouterr().out
    monkeypatch.setattr("codec.cli.progress_on_terminal", lambda _: shown.pop())
    assert main(["decode", str(stream), "-o", "-", "--ray", cluster.address]) == 0
    assert lose.lost and not shown
    assert capfdbinary.readouterr().out == alone and len(alone) > 13 * 66 * 50


def files_of(folder):
    """What each file below a folder holds; of a video its pictures, as its file has a random number too."""
    return {path.relative_to(folder): content(path) for path in folder.rglob("*") if path.is_file()}


def content(path):
    if path.suffix == ".ncm":
        return path.read_bytes()
    with codec.open_source(path) as source:
        return [(frame.pts, *(getattr(frame.picture, name).tobytes() for name in "yuv")) for frame in source]


@slow
@ours
def test_files_of_a_folder(tmp_path, cluster, lose, monkeypatch, capfd):
    """Bytes, table, notes and status are those without a cluster, where one file fails and a machine is lost too."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "deep/c", "deep/d"), 3):
        write(tmp_path / "in" / f"{name}.y4m", moving(number, 66, 50))
    (tmp_path / "in" / "bad.y4m").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)  # paths are those of this folder on the other machines, too
    monkeypatch.setattr("codec.parallel.cluster.PAUSE", 0.05)
    ray, shown = ["--ray", cluster.address], []

    @contextmanager
    def bars():
        def bar(what):
            shown.append(what)
            return nullcontext(lose)

        yield bar

    found = {}
    for name, words in (("alone", []), ("cluster", ray)):
        if words:
            monkeypatch.setattr(command, "bars_on_terminal", bars)
        assert main(["encode", "in", "--output-dir", f"{name}/coded", *FAST, *words]) == 2
        assert main(["decode", f"{name}/coded", "--output-dir", f"{name}/back", *words]) == 0
        found[name] = files_of(tmp_path / name), capfd.readouterr()
    assert lose.lost and len(shown) == 5
    assert found["cluster"][0] == found["alone"][0] and len(found["alone"][0]) == 8
    one, other = (captured.out.replace("cluster/", "alone/").splitlines() for _, captured in found.values())
    assert [line.split() for line in one] == [line.split() for line in other]
    assert found["cluster"][1].err == found["alone"][1].err
    assert "1 failed" in found["alone"][1].out and "--preset" in found["alone"][1].err


@slow
@ours
def test_rows_of_results(tmp_path, cluster, monkeypatch, one_thread):
    write(tmp_path / "seq.y4m", moving(3, 96, 64))
    monkeypatch.chdir(tmp_path)
    words = ["run", "--sequences", "seq.y4m", "--codecs", "ncm-bitfree@x265", "--preset", "ultrafast"]
    words += ["--model", "tiny", "--rates", "x265=crf:30", "--keep", "streams", "-o"]
    assert rd_curves.main([*words, "alone.csv"]) == 0
    assert rd_curves.main([*words, "cluster.csv", "--ray", cluster.address]) == 0
    alone, there = (
        sorted((row.codec, row.bytes, row.psnr_rgb, row.command) for row in read_rows(tmp_path / f"{name}.csv"))
        for name in ("alone", "cluster")
    )
    assert alone == there and len(alone) == 1
    assert len(read_frames(tmp_path / "cluster.csv")) == 3
    assert rd_curves.main([*words, "cluster.csv", "--ray", "auto", "--device", "cuda"]) == 2


@slow
@ours
def test_a_path_that_another_machine_lacks(tmp_path, cluster):
    with codec.open_cluster(cluster.address) as there:
        assert there.size == 1 and there.call(sum, [1, 2]) == 3
        with pytest.raises(codec.InputError, match=r"nowhere: is not there on the machine .*file system"):
            there.call(sum, [1, 2], paths=[tmp_path, tmp_path / "nowhere"])
        with pytest.raises(codec.CodecError, match="unexpected ZeroDivisionError"):
            there.call(divmod, 1, 0)
    with pytest.raises(codec.WorkerError, match="was left"):
        there.call(sum, [1, 2])


@slow
@ours
def test_what_is_under_way_can_remove_its_files(tmp_path, cluster):
    def work(path):
        try:
            path.touch()
            while True:
                time.sleep(0.01)
        finally:
            time.sleep(0.5)
            path.unlink()

    part = tmp_path / "part"
    with codec.open_cluster(cluster.address) as there, ThreadPoolExecutor(1) as threads:
        call = threads.submit(there.call, work, part)
        while not part.exists():
            time.sleep(0.1)
        there.close()
        assert isinstance(call.exception(), codec.WorkerError)
        end = time.monotonic() + 60  # a busy machine tells the caller before the task has ended
        while part.exists() and time.monotonic() < end:
            time.sleep(0.1)
    assert not part.exists()


@pytest.mark.parametrize("source", ["seq.y4m", "."])
def test_where_there_is_no_cluster(tmp_path, source, capsys):
    src = write(tmp_path / "seq.y4m", moving(3))
    where = ["--output-dir", str(tmp_path / "out")] if source == "." else ["-o", str(tmp_path / "out.ncm")]
    assert main(["encode", str(tmp_path / source), *where, *FAST, "--ray", "nowhere"]) == 2
    assert "--ray nowhere: no cluster answers there; start one" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {src.name, "out"} and not list(tmp_path.glob("out/*"))
