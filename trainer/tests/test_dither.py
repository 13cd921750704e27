"""Promise: what a refresh learnt is not lost when its weights go into an int8 graph again."""

from pathlib import Path

import torch
from bellwether_trainer import bundle, champion, data, dither, manifest, parameters, tiny
from conftest import write_sets


def test_a_move_of_a_twentieth_of_a_step_is_kept_on_average_and_rounding_to_the_nearest_loses_it(version: Path) -> None:
    held = champion.load(version)
    before = {name: value.clone() for name, value in held.model.state_dict().items()}
    matrices = [name for name in held.grids if before[name].ndim == 2 and "layer" in name]
    assert len(matrices) == 6
    with torch.no_grad():
        for name, parameter in held.model.named_parameters():
            if name in matrices:
                parameter += 0.05 * held.grids[name].step
    moved = {name: value.clone() for name, value in held.model.state_dict().items()}
    dither.settle(held.model, held.grids, 7)
    settled = held.model.state_dict()
    for name in matrices:
        step = held.grids[name].step
        assert torch.equal(torch.round(moved[name] / step), held.grids[name].levels), "the nearest is where it was"
        drift = ((settled[name] - before[name]) / step).mean().item()
        assert 0.03 < drift < 0.06, (name, drift)
        off = settled[name] / step - torch.round(settled[name] / step)
        assert off.abs().max() < 1e-3, "on the steps again"
    for name in set(before) - set(matrices):
        assert torch.allclose(settled[name], before[name], atol=1e-6), f"{name} was not moved"
    again = champion.load(version)
    again.model.load_state_dict(moved)
    dither.settle(again.model, again.grids, 7)
    assert all(torch.equal(value, settled[name]) for name, value in again.model.state_dict().items()), "each time"


def test_the_quantiser_finds_the_same_steps_and_writes_what_was_settled(version: Path, tmp_path: Path) -> None:
    held = champion.load(version)
    with torch.no_grad():
        for name, parameter in held.model.named_parameters():
            if name in held.grids:
                parameter += 0.3 * held.grids[name].step * torch.randn(parameter.shape)
    dither.settle(held.model, held.grids, 7)
    out, identity = tmp_path / "small" / "2", manifest.Identity("small", "2")
    split = data.load(write_sets(tmp_path / "clean"), 0.3)
    texts = [example.text for example in split.train]
    written = manifest.finish(
        held.model, held.tokenizer, split.validation, tiny.TEXTS, identity, {"data": []}, 32, out, texts
    )
    restored = parameters.restore(out / bundle.trained_file(written)["file"], written["parameters"])
    for name, value in held.model.named_parameters():
        assert torch.allclose(restored[name], value, atol=1e-5), name
