"""MLPerf Tiny: the networks that its reference implementation published, and what was published of them."""

from __future__ import annotations

from analognets.deploy.studies.suites.suite import Member, Published, Suite
from analognets.zoo.published import LICENCE, SOURCE, is_official, published_file

__all__ = ["SUITE"]

RULES = "MLPerfTiny_Rules.adoc"


LOW_BITS = {4: ("hardware_aware.hardware.drift_compensation=input",)}
"""With 7 levels of an ADC the signal must keep its size in front of them."""


def accuracy(value: float, data: str) -> Published:
    return Published(value, "%", f"MLPerf Tiny's accuracy set: {data}; measured from the published file")


IC = Member(
    key="ic",
    title="image classification, ResNet-8",
    model="pretrainedResnet.h5",
    int8="pretrainedResnet_quant.tflite",
    recipe="mlperf_ic",
    places=(("cifar10", "cifar10.npz"), ("", "cifar10.npz")),
    float_figure=accuracy(87.19, "the test pictures of CIFAR-10"),
    int8_figure=accuracy(86.97, "the test pictures of CIFAR-10"),
    target="85 % (top 1)",
    overrides=LOW_BITS,
)
KWS = Member(
    key="kws",
    title="keyword spotting, DS-CNN",
    model="kws_ref_model",
    int8="kws_ref_model.tflite",
    recipe="mlperf_kws",
    places=(("", "speech_commands_v0.02"), ("speech_commands", "speech_commands_v0.02")),
    float_figure=accuracy(90.0, "1,000 clips of Speech Commands"),
    int8_figure=accuracy(90.2, "1,000 clips of Speech Commands"),
    target="90 % (top 1)",
    overrides=LOW_BITS,
)
VWW = Member(
    key="vww",
    title="visual wake words, MobileNetV1 0.25",
    model="vww_96.h5",
    int8="vww_96_int8.tflite",
    recipe="mlperf_vww",
    places=(("person_photographs", "train/person"), ("vw_coco2014_96", "person"), ("", "train/person"), ("", "person")),
    float_figure=accuracy(85.3, "1,000 pictures of COCO"),
    int8_figure=accuracy(85.2, "1,000 pictures of COCO"),
    target="80 % (top 1)",
    stand_in="A stand-in for Visual Wake Words: nearly all photographs without a person show dogs, so the figure is "
    "nearer to person or dog than to VWW, and fine-tuning also learns these photographs, which the published network "
    "never saw.",
    overrides=LOW_BITS,
)
AD = Member(
    key="ad",
    title="anomaly detection, autoencoder",
    model="ad01.h5",
    int8="ad01_int8.tflite",
    no_data="cost and conversion only: ToyADMOS is not read here",
    float_figure=Published(0.903, "AUC", "MLPerf Tiny's accuracy set: ToyADMOS; measured from the published file"),
    int8_figure=Published(0.860, "AUC", "MLPerf Tiny's accuracy set: ToyADMOS; measured from the published file"),
    target="AUC 0.85",
)
SWW = Member(
    key="sww",
    title="streaming wake word, depthwise-separable CNN",
    model="str_ww_ref_model.h5",
    int8="str_ww_ref_model.tflite",
    no_data="cost and conversion only: the wake word's recordings are not published with it",
    target="at most 8 false alarms and 8 misses",
)
SUITE = Suite(
    name="mlperf-tiny",
    title="MLPerf Tiny on an analog chip",
    source=f"{SOURCE}, {LICENCE}; targets: {RULES}",
    members=(IC, KWS, VWW, AD, SWW),
    locate=published_file,
    official=is_official,
)
