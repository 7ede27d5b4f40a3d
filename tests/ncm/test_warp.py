import pytest
import torch

from ncm import resize, resize_flow, warp


def picture(height=24, width=40, channels=3):
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1))


def test_zero_flow_changes_nothing():
    x = picture()
    assert (warp(x, torch.zeros(2, 2, 24, 40)) - x).abs().max() < 1e-4


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, 2), (-4, 1)])
def test_whole_pixels_shift_and_edges_repeat(dx, dy):
    x = picture()
    flow = torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(2, 2, 24, 40)
    rows = (torch.arange(24) + dy).clamp(0, 23)
    cols = (torch.arange(40) + dx).clamp(0, 39)
    assert (warp(x, flow) - x[:, :, rows][..., cols]).abs().max() < 1e-4


def test_half_a_pixel_is_the_mean_of_two():
    x = picture()
    flow = torch.zeros(2, 2, 24, 40)
    flow[:, 0] = 0.5
    expected = (x[..., :-1] + x[..., 1:]) / 2
    assert (warp(x, flow)[..., :-1] - expected).abs().max() < 1e-4


def test_one_pixel_wide_pictures_do_not_divide_by_zero():
    assert warp(picture(1, 1), torch.zeros(2, 2, 1, 1)).isfinite().all()


def test_a_resized_flow_points_at_the_same_place():
    flow = torch.ones(1, 4, 12, 20) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    larger = resize_flow(flow, (36, 40))
    assert torch.allclose(larger[0, :, 5, 5], torch.tensor([2.0, 6.0, 6.0, 12.0]))
    assert resize_flow(flow, (12, 20)) is flow and resize(flow, (12, 20)) is flow


def test_bfloat16_pictures_keep_exact_coordinates():
    x = picture(8, 1024, 1).bfloat16()
    flow = torch.full((2, 2, 8, 1024), 0.0)
    flow[:, 0] = 1
    assert (warp(x, flow)[..., :-1].float() - x[..., 1:].float()).abs().max() < 0.005
