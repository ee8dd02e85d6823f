"""PSPNet: the names and shapes of the official checkpoints, and the properties that the rest relies on."""

from __future__ import annotations

import pytest
import torch
from engine_networks import random_network, tiny_config
from torch import nn

from core.engine.device import choose_device
from core.engine.inference import FastNetwork, InferenceNetwork, fold_batchnorm
from core.engine.network import PSPNet, averaging_matrix, official_config, small_config


def on_meta(config):
    with torch.device("meta"):
        return PSPNet(config)


def test_official_network_has_the_parameters_of_the_official_checkpoints():
    network = on_meta(official_config(100))
    names = list(network.state_dict())
    assert len(names) == 676
    assert sum(name.endswith("num_batches_tracked") for name in names) == 112
    assert sum(parameter.numel() for parameter in network.parameters()) == 68_134_536


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("fcn.layer1.conv1.conv.weight", (64, 3, 3, 3)),
        ("fcn.layer1.conv3.bn.running_var", (128,)),
        ("fcn.layer2.block1.proj.conv.weight", (256, 128, 1, 1)),
        ("fcn.layer3.block4.reduce.conv.weight", (128, 512, 1, 1)),
        ("fcn.layer4.block23.conv3x3.conv.weight", (256, 256, 3, 3)),
        ("fcn.layer5.block3.increase.conv.weight", (2048, 512, 1, 1)),
        ("ppm.stages.3.conv.conv.weight", (512, 2048, 1, 1)),
        ("final.conv5_4.conv.weight", (512, 4096, 3, 3)),
        ("conv6.weight", (100, 512, 1, 1)),
        ("aux.conv4_aux.conv.weight", (256, 1024, 3, 3)),
        ("conv6_1.bias", (100,)),
    ],
)
def test_official_network_names_its_parameters_as_the_checkpoints_do(name, shape):
    assert tuple(on_meta(official_config(100)).state_dict()[name].shape) == shape


def test_original_base_has_torchvision_names_and_caffe_strides():
    network = on_meta(official_config(19, "torchvision"))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["fcn.conv1.weight"] == (64, 3, 7, 7)
    assert shapes["fcn.layer3.22.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["fcn.layer4.0.downsample.1.running_mean"] == (2048,)
    assert shapes["fcn.layer1.0.bn3.weight"] == (256,)
    block = network.fcn.layer2[0]
    assert block.conv1.stride == (2, 2)
    assert block.conv2.stride == (1, 1)


@pytest.mark.parametrize("base", ["caffe", "torchvision"])
def test_a_713_crop_gives_90_by_90_features_and_logits(base):
    output = on_meta(official_config(100, base)).eval()(torch.empty(1, 3, 713, 713, device="meta"))
    assert output.features.shape == (1, 512, 90, 90)
    assert output.logits.shape == (1, 100, 90, 90)
    assert output.aux_logits is None


def test_training_forward_adds_the_auxiliary_head_and_changes_nothing_else():
    network = random_network(tiny_config())
    x = torch.randn(2, 3, 97, 129) * 50
    plain, full = network(x), network.forward_train(x)
    assert torch.equal(plain.logits, full.logits)
    assert full.aux_features.shape == (2, 4, 13, 17)
    assert full.aux_logits.shape == (2, 7, 13, 17)


def test_features_are_taken_before_the_relu_and_logits_after_it():
    network = random_network(tiny_config())
    output = network(torch.randn(1, 3, 97, 97) * 50)
    assert (output.features < 0).any()
    torch.testing.assert_close(output.logits, network.conv6(output.features.relu()))


def test_every_parameter_of_the_training_forward_gets_a_gradient():
    network = PSPNet(tiny_config()).train()
    output = network.forward_train(torch.randn(2, 3, 97, 97))
    (output.logits.square().mean() + output.aux_logits.square().mean()).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_small_network_has_about_three_million_parameters():
    count = sum(parameter.numel() for parameter in on_meta(small_config(100)).parameters())
    assert 2.5e6 < count < 3.6e6


def test_reflect_padding_leaves_no_strip_along_the_image_border():
    network = random_network(tiny_config(padding="reflect"))
    logits = network(torch.full((1, 3, 129, 129), 40.0)).logits
    torch.testing.assert_close(logits, logits[..., 8:9, 8:9].expand_as(logits), rtol=1e-3, atol=1e-3)


def test_new_heads_have_the_asked_number_of_labels_and_small_weights():
    network = PSPNet(tiny_config())
    network.reset_heads(33)
    assert network.config.num_labels == 33
    assert network.conv6.weight.shape[0] == network.conv6_1.weight.shape[0] == 33
    assert network.conv6.weight.abs().max() < 0.1
    assert not network.conv6.bias.any()


@pytest.mark.parametrize("base", ["caffe", "torchvision", "patch"])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_folding_batchnorm_changes_no_output(base, padding):
    stem = {"caffe": (4, 4, 8), "torchvision": (8,), "patch": (4, 8)}[base]
    network = random_network(tiny_config(base=base, stem=stem, padding=padding))
    folded = fold_batchnorm(network)
    assert not [module for module in folded.fcn.modules() if isinstance(module, nn.BatchNorm2d)]
    x = torch.randn(1, 3, 129, 97) * 50
    with torch.no_grad():
        torch.testing.assert_close(folded(x).logits, network(x).logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
def test_fast_network_computes_nearly_the_same_logits(padding):
    network = random_network(tiny_config(padding=padding))
    x = torch.randn(2, 3, 129, 97) * 50
    with torch.no_grad():
        exact, fast = network(x).logits, InferenceNetwork(network, choose_device("cpu", "fast"))(x)
    assert fast.dtype == torch.float32
    assert (fast - exact).norm() < 0.15 * exact.norm()  # bf16 has 8 bits, and noise as input is the worst case


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
def test_pyramid_convolved_before_upsampling_gives_the_same_features(padding):
    network = random_network(tiny_config(padding=padding))
    x = torch.randn(2, 3, 129, 97) * 50
    with torch.no_grad():
        exact, fast = network(x), FastNetwork(fold_batchnorm(network), torch.float32)(x)
    torch.testing.assert_close(fast.features, exact.features, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(fast.logits, exact.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("length", "cells"), [(90, 6), (13, 6), (5, 3), (2, 3), (7, 1)])
def test_pooling_by_matrix_is_adaptive_pooling(length, cells):
    x = torch.randn(1, 1, 1, length)
    expected = torch.nn.functional.adaptive_avg_pool1d(x[0], cells)
    torch.testing.assert_close(x[0] @ averaging_matrix(length, cells).T, expected)


def test_unknown_base_or_padding_is_refused():
    with pytest.raises(ValueError, match="base 'vgg'"):
        tiny_config(base="vgg")
    with pytest.raises(ValueError, match="num_labels 0"):
        tiny_config(0)
