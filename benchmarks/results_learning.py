"""The results page's part on learning with devices and spikes, from the results files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown, over_values

ABLATIONS = {
    "device": "PCM model",
    "normal_steps": "normal steps, as in the source: SET may lower a device",
    "step_device": "constants of aihwkit's step device",
    "linear": "linear device, no noise",
    "no_refresh": "no refresh",
    "epsilon_half": "epsilon x 0.5",
    "epsilon_double": "epsilon x 2",
    "ten_pulses": "up to 10 pulses in a step",
    "devices_4": "4 devices a polarity",
    "devices_8": "8 devices a polarity",
    "no_accumulation": "no accumulation: direct stochastic updates",
}
COPIES = {"cnn": "1 + 1", "lstm": "16 + 16", "gan": "16 + 16"}  # a synapse, as in the recipes
NETWORKS = {"cnn": "small CNN, MNIST", "lstm": "LSTM, Speech Commands", "gan": "GAN, MNIST: Frechet distance"}
SYNAPSES = {
    "float": "float",
    "pcm": "4 + 4 devices",
    "devices_1": "1 + 1 devices",
    "devices_2": "2 + 2 devices",
    "half_ms": "4 + 4 devices",
    "devices_8": "8 + 8 devices",
    "normal_steps": "4 + 4, normal steps, as in the source",
    "amplitude_from_0.5": "4 + 4, updates from 0.5 steps on",
    "amplitude_from_1": "4 + 4, updates from 1 step on",
    "pulses_stochastic": "4 + 4, whole pulses, stochastic",
    "pulses_nearest": "4 + 4, whole pulses, nearest",
    "no_refresh": "4 + 4, no refresh",
    "drift_spread_0.01": "4 + 4, drift exponents that differ by 0.01",
    "one_minute_a_presentation": "4 + 4, trained at a minute a presentation",
}


ON_DEVICE = ("mnist_on_device", "mnist_on_device_ablations", "networks_on_device", "on_device_step", "training_energy")
SPIKES = ("spoken_letters", "stdp_mnist", "memristor_spike_times", "spiking_speed")


def read(speed: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return results files."""
    return [json.loads((speed / f"{name}.json").read_text("utf-8")) for name in names]


def mean_after(records: list[dict[str, Any]], at: str, compensated: bool, measure: str) -> str:
    """Return the mean of a measure at a time after training."""
    found = [
        row[measure]
        for record in records
        for row in record["after"]
        if row["at"] == at and row["drift_compensation"] == compensated
    ]
    factor = 1.0 if measure == "frechet" else 100.0
    return over_values(found, factor) if found else ""


def networks_table(mnist: dict[str, Any], networks: dict[str, Any]) -> str:
    """Return the float and the on-device training of each network, and its arrays after a month."""
    variants = mnist["variants"]
    device, months = variants["device"], []
    for kind in ("as_read", "compensated"):
        values = [record["after"]["30d"][kind] for record in device["records"]]
        months.append(over_values(values))
    scores = [over_values(list(variants[kind]["seeds"].values())) for kind in ("float", "device")]
    rows = [["784-250-10 perceptron, MNIST", "1 + 1", str(len(device["seeds"])), *scores, *months]]
    for name, title in NETWORKS.items():
        found = networks["networks"][name]
        measure = "frechet" if name == "gan" else "accuracy"
        factor = 1.0 if name == "gan" else 100.0
        scores = [over_values(list(found[kind]["seeds"].values()), factor) for kind in ("float", "device")]
        months = [mean_after(found["device"]["records"], "30d", kind, measure) for kind in (False, True)]
        rows.append([title, COPIES[name], str(len(found["device"]["seeds"])), *scores, *months])
    return markdown(["network", "devices", "seeds", "float", "on devices", "30 d later", "30 d, compensated"], rows)


def ablations_table(mnist: dict[str, Any]) -> str:
    """Return what each part of the on-device training is worth, after the same number of epochs."""
    epochs = min(entry["epochs"] for entry in mnist["variants"].values())
    rows = []
    for name, title in ABLATIONS.items():
        if found := mnist["variants"].get(name):
            scores = [record["curve"][epochs - 1]["test_accuracy"] for record in found["records"]]
            rows.append([title, str(len(scores)), over_values(scores)])
    return markdown([f"784-250-10 after {epochs} epochs", "seeds", "test accuracy, %"], rows)


def saturation(path: Path) -> list[str]:
    """Return what was found about outputs that fall silent."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text("utf-8"))
    heads = ["devices and pulses in a step, at most", "seeds with a silent output after 1 epoch", "accuracy, %"]
    rows = [
        [name, f"{entry['seeds_with_silent_outputs'][0]} of {found['seeds']}", f"{100 * entry['accuracy_mean'][0]:.2f}"]
        for name, entry in found["variants"].items()
    ]
    return [
        "While all hidden units are near 0.5, the synapses of an output collect nearly equal updates, which can drive "
        "its sigmoid so far down that its gradient vanishes: the output stays silent, for an epoch or for good. "
        "Counted on held-out training pictures, with the single pulse a step of the published experiment and with up "
        "to ten ([figures](saturation.json)):",
        markdown(heads, rows),
    ]


def on_device(speed: Path) -> list[str]:
    """Return the paragraphs on mixed-precision training."""
    mnist, ablations, networks, steps, energy = read(speed, ON_DEVICE)
    step, floor = steps["networks"], networks["networks"]["gan"]["device"]["records"][0]["floor"]
    costs = [
        f"{step[name]['early']['ratio']:.2f} early and {step[name]['late']['ratio']:.2f} late in training ({title})"
        for name, title in (("mnist_mlp", "MLP"), ("mnist_cnn", "CNN"))
    ]
    every = max(step[name]["late"]["variants"]["all_touched"]["wall_ratio"] for name in step)
    floats = max(entry["floats_per_synapse_and_pair"] for entry in step.values())
    parts = [
        "Learned on phase-change memory by mixed-precision training (Nandakumar et al. 2020; networks and settings "
        "ours where the paper is silent), test accuracy in %, mean and half of its 95 % interval over training seeds "
        "([MLP](mnist_on_device.json), [others](networks_on_device.json)). The "
        "published experiment reached 97.73 % with the first. The later columns are the trained arrays as they are; "
        "those of CNN and LSTM are read through the converters of a chip:",
        networks_table(mnist, networks),
        f"By the GAN's measure real test and training pictures are {floor:.1f} apart. Its learning rate was chosen for "
        "the devices: float training alone draws better at a larger one, which noisy pulses don't follow "
        "([trials](gan_rate_trials.json)).",
        "What each part is worth, with up to ten pulses a step as in earlier versions "
        "([figures](mnist_on_device_ablations.json)):",
        ablations_table(ablations),
        *saturation(speed / "saturation.json"),
        f"A step at batch 100 takes {'; '.join(costs)} plain Keras steps, and {floats:.1f} float32 values a synapse "
        f"beside the weight itself. Pulsing every synapse in every step would take {every:.0f} "
        f"([figures](on_device_step.json)). Energy of the MLP an image: "
        f"{energy['mixed_nj']:.1f} nJ against {energy['digital_nj'] / 1000:.2f} uJ for 32-bit digital training, a "
        f"factor of {energy['ratio']:.1f}; one constant on each side was fitted to the published figures, and nothing "
        f"fitted on the analog side gives {energy['uncalibrated']['ratio']:.0f} "
        "([constants](training_energy.json)).",
    ]
    if (speed / "on_device_peer.json").exists():
        parts.append(peer(json.loads((speed / "on_device_peer.json").read_text("utf-8"))))
    return parts


def best(result: dict[str, Any], *variants: str) -> str:
    """Return the best last accuracy of some variants over all learning rates of a comparison, in %."""
    return f"{100 * max(table[name]['by_epoch'][-1] for table in result['learning'].values() for name in variants):.1f}"


def peer(result: dict[str, Any]) -> str:
    """Return the comparison with another toolkit."""
    said = []
    for size, speed in result["speed"].items():
        ours, every, rare = (
            speed["variants"][name]["to_plain_cpu"]
            for name in ("analognets_pulsed_pcm", "aihwkit", "aihwkit_refresh_100")
        )
        direct = [
            speed["direct"][f"{name} / analognets_pulsed_pcm"]["cpu"] for name in ("aihwkit", "aihwkit_refresh_100")
        ]
        said.append(
            f"at {size}, {ours:.2f} plain steps here, {every:.1f} there ({rare:.1f} with refreshes as rare as ours), "
            f"directly {direct[0]:.1f} ({direct[1]:.1f}) times as long there"
        )
    rates = ", ".join(name.removeprefix("rate ") for name in result["learning"])
    return (
        "Beside aihwkit's mixed-precision compound with its PCM preset, in one run with the same network, first "
        f"weights, batches and rule, one thread, CPU time: {'; '.join(said)}. Test accuracy after "
        f"{result['epochs']} epoch(s) of {result['pictures']:,} pictures in batches of {result['learning_batch']}, "
        f"best of the learning rates {rates}: "
        f"plain {best(result, 'keras', 'torch')} %, ours "
        f"{best(result, 'analognets_pulsed_pcm')} % (with constants like the preset's "
        f"{best(result, 'analognets_pulsed_step_pcm')} %), aihwkit "
        f"{best(result, 'aihwkit_refresh_100', 'aihwkit_own_granularity')} % "
        "([figures and what differs](on_device_peer.json))."
    )


def letters_table(letters: dict[str, Any]) -> str:
    """Return spikes met by kind of synapse, and what is left after 4e5 s."""
    rows = []
    for name, title in SYNAPSES.items():
        if not (found := letters["variants"].get(name)):
            continue
        step = "0.1 ms" if name in ("pcm", "float") else "0.5 ms"
        shares = [f"{100 * found['last_epoch'][f'within_{ms}_ms']:.1f}" for ms in (5, 10)]
        seeds = list(found["within_25_ms_by_seed"].values())
        later = found["after"]["400000"]
        cells = [f"{100 * later[kind]:.1f}" for kind in ("as_read", "scaled")]
        rows.append([title, step, str(len(seeds)), *shares, over_values(seeds, digits=1), *cells])
    times = ["within 5 ms", "10 ms", "25 ms"]
    return markdown(["synapses", "step", "seeds", *times, "25 ms after 4e5 s", "the same, scaled"], rows)


def chance(letters: dict[str, Any]) -> str:
    """Return the range of the share of spikes met by chance within 25 ms, in %."""
    found = [100 * variant["chance_25"] for variant in letters["variants"].values()]
    return f"{min(found):.0f} to {max(found):.0f}"


def digits_table(digits: dict[str, Any]) -> str:
    """Return accuracy and time of unsupervised MNIST."""
    rows = []
    for name, found in digits["layers"].items():
        kind, neurons = name.split("-")
        accuracy, minutes = over_values(list(found["seeds"].values())), f"{found['training_minutes']:.1f}"
        rows.append([kind, neurons, str(len(found["seeds"])), accuracy, minutes])
    return markdown(["synapses", "neurons", "seeds", "test accuracy, %", "training, minutes"], rows)


def speed_sentence(result: dict[str, Any]) -> str:
    """Return what simulating from spike to spike saves."""
    said = []
    for name, layer in result["layers"].items():
        if name.endswith("0.1 ms"):
            ratios = [layer[kind]["dense_loop"]["wall_ratio"] for kind in ("learning", "inference")]
            said.append(f"{ratios[0]:.1f} (learning) and {ratios[1]:.1f} (inference) with {name.split(',')[0]}")
    coarse = [
        layer[kind]["dense_loop"]["wall_ratio"]
        for name, layer in result["layers"].items()
        for kind in ("learning", "inference")
        if name.endswith(", 1 ms")
    ]
    return (
        f"Against a dense NumPy loop in steps of 0.1 ms, as in all results here, with the same spikes, going from "
        f"spike to spike is faster by {'; '.join(said)}. It costs the same at any step, so against a loop in steps of "
        f"1 ms the factor is {min(coarse):.1f} to {max(coarse):.1f} ([figures](spiking_speed.json))."
    )


def simulators(path: Path) -> str:
    """Return how long other simulators take for the inference of a layer of the same size on the same spikes."""
    layers = json.loads(path.read_text("utf-8"))["layers"]
    said = [
        f"snnTorch {rows['inference']['snntorch']['wall_ratio']:.0f} and BindsNET "
        f"{rows['inference']['bindsnet']['wall_ratio']:.0f} times as long ({name})"
        for name, rows in layers.items()
    ]
    return (
        " For the inference of a layer of that size on the same input spikes, in steps of 1 ms and picture by picture, "
        f"it takes {'; '.join(said)}; their networks differ in detail and do more when given batches "
        "([figures](spiking_peers.json))."
    )


def spikes(speed: Path) -> list[str]:
    """Return the paragraphs on spiking networks."""
    letters, digits, times, fast = read(speed, SPIKES)
    found = times["synapses"]["memristor"]
    return [
        "Spoken letters I, B, M to spike pictures by NormAD (after arXiv 1905.11929; what that leaves open is ours): "
        f"share of wanted spikes that are met, in %. The letters are spoken by espeak-ng; chance within 25 ms is "
        f"{chance(letters)} % ([figures](spoken_letters.json)):",
        "![Spoken letters as spike pictures](spoken_letters_pictures.png)",
        letters_table(letters),
        "What is left after 4e5 s hangs on assumptions: one drift exponent for all devices, as in the source of the "
        "device model, and 1.25 s a presentation, so that the whole training takes minutes; the last rows have others.",
        "MNIST learned without labels by spike timing on Cu/SiO2/W memristors (after arXiv 2001.09299; constants "
        "assumed), full test set, two cores ([figures](stdp_mnist.json)):",
        digits_table(digits),
        speed_sentence(fast)
        + (simulators(speed / "spiking_peers.json") if (speed / "spiking_peers.json").exists() else ""),
        f"Supervised spike times on the memristor: {100 * found['after']['tolerance_5']:.1f} % within 5 ms over "
        f"{len(found['records'])} seeds (chance {100 * found['chance_5']:.1f} %; "
        "[figures](memristor_spike_times.json)).",
    ]
