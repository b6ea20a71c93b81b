"""The detector of a stream in C++: the same smoothing, thresholds and suppression as in Python, bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

from analognets.deploy.export.cpp_text import comment, float_literal
from analognets.deploy.export.litert_file import TensorFacts
from analognets.deploy.stream.detector import NEVER, Detector
from analognets.errors import InvalidArgumentError

__all__ = ["DetectorExport", "detector_header", "detector_source"]

MOST_WINDOW = 10_000
"""Posteriors that are averaged at most: they are kept in memory."""

HEADER = """\
{notice}
#ifndef {guard}
#define {guard}

#include <cstdint>

// Run the network every {step} s on the features of the window that ends then, and give its outputs to the detector:
//
//   float posteriors[k{kind}Classes];
//   {kind}Posteriors(outputs, posteriors);
//   int label = detector.Update(posteriors);  // -1: nothing was detected
//
constexpr int k{kind}Classes = {classes};
// Seconds from one inference to the next.
constexpr float k{kind}Step = {step_literal};
// Inferences whose posteriors are averaged ({smoothing} s).
constexpr int k{kind}Window = {window};
// Inferences from one detection to the next, at least ({suppression} s).
constexpr std::int32_t k{kind}Hold = {hold};
// Least mean posterior of each class: {words}.
// A class of {never} is never reported.
constexpr float k{kind}Thresholds[k{kind}Classes] = {{{thresholds}}};

class {kind} {{
 public:
  {kind}() {{ Reset(); }}

  // Forgets what was heard, as before the first inference.
  void Reset();

  // Takes the posteriors of the next inference, 0 to 1, and returns the class that is detected, or -1.
  int Update(const float* posteriors);

  // Mean posterior of the class that the last Update returned; 0 if it was -1.
  float score() const {{ return score_; }}

 private:
  float past_[k{kind}Window][k{kind}Classes];
  int next_;
  std::int32_t silent_;
  float score_;
}};

// Probabilities of the classes from the outputs of the network, {outputs}.
void {kind}Posteriors(const float* outputs, float* posteriors);
{integers}
#endif  // {guard}
"""

SOURCE = """\
#include "{name}_detector.h"

#include <cmath>

{notice}

void {kind}::Reset() {{
  for (int age = 0; age < k{kind}Window; ++age) {{
    for (int label = 0; label < k{kind}Classes; ++label) past_[age][label] = 0.0f;
  }}
  next_ = 0;
  silent_ = 0;
  score_ = 0.0f;
}}

int {kind}::Update(const float* posteriors) {{
  for (int label = 0; label < k{kind}Classes; ++label) past_[next_][label] = posteriors[label];
  next_ = (next_ + 1) % k{kind}Window;
  int best = -1;
  float most = -1.0f;
  for (int label = 0; label < k{kind}Classes; ++label) {{
    // Summed from the oldest to the newest, so that rounding is the same everywhere.
    float total = past_[next_][label];
    for (int age = 1; age < k{kind}Window; ++age) total += past_[(next_ + age) % k{kind}Window][label];
    const float mean = total / static_cast<float>(k{kind}Window);
    if (mean >= k{kind}Thresholds[label] && mean > most) {{
      best = label;
      most = mean;
    }}
  }}
  const bool silent = silent_ > 0;
  if (silent) --silent_;
  if (best < 0 || silent) {{
    score_ = 0.0f;
    return -1;
  }}
  silent_ = k{kind}Hold - 1;
  score_ = most;
  return best;
}}

void {kind}Posteriors(const float* outputs, float* posteriors) {{
{floats}}}
"""

SOFTMAX = """\
  float top = outputs[0];
  for (int label = 1; label < k{kind}Classes; ++label) top = outputs[label] > top ? outputs[label] : top;
  float total = 0.0f;
  for (int label = 0; label < k{kind}Classes; ++label) {{
    posteriors[label] = std::exp(outputs[label] - top);
    total += posteriors[label];
  }}
  for (int label = 0; label < k{kind}Classes; ++label) posteriors[label] /= total;
"""

COPY = """\
  for (int label = 0; label < k{kind}Classes; ++label) {{
    const float value = outputs[label];
    posteriors[label] = value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
  }}
"""

INTEGERS = """
void {kind}Posteriors(const std::int8_t* outputs, float* posteriors) {{
  float real[k{kind}Classes];
  for (int label = 0; label < k{kind}Classes; ++label) {{
    real[label] = {scale} * static_cast<float>(outputs[label] - ({zero}));
  }}
  {kind}Posteriors(real, posteriors);
}}
"""


@dataclasses.dataclass(frozen=True)
class DetectorExport:
    """A detector to be written in C++.

    Args:
        detector: with its settings, and the time from one inference to the next.
        logits: whether the outputs of the network are logits; else probabilities.

    Examples:
        >>> settings = analognets.deploy.stream.DetectorSettings(threshold=0.8, smoothing=0.5)
        >>> detector = analognets.deploy.stream.Detector(["silence", "unknown", "yes"], 0.1, settings)
        >>> export = DetectorExport(detector)
        >>> export.check(outputs=3)
        >>> export.detector.window, export.logits
        (5, True)
    """

    detector: Detector
    logits: bool = True

    def check(self, outputs: int) -> None:
        """Raise an InvalidArgumentError unless it fits a network with so many outputs."""
        if len(self.detector.classes) != outputs:
            raise InvalidArgumentError(
                f"The detector must have the model's {outputs} classes. Received: {len(self.detector.classes)} classes."
            )
        if self.detector.window > MOST_WINDOW:
            raise InvalidArgumentError(
                f"A detector in C++ averages at most {MOST_WINDOW:,} posteriors. Received: {self.detector.window:,}. "
                "Use less smoothing, or run the network less often."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return its settings as plain data."""
        one = self.detector
        thresholds = [round(float(value), 7) for value in one.thresholds]
        settings = {"smoothing": one.settings.smoothing, "suppression": one.settings.suppression}
        return {"step": one.step, **settings, "window": one.window, "hold": one.hold, "thresholds": thresholds}


def detector_header(notice: str, kind: str, guard: str, export: DetectorExport, output: TensorFacts) -> str:
    """Return NAME_detector.h.

    Args:
        notice: comment at its top.
        kind: name of the class in C++.
        guard: of the header.
        export: the detector.
        output: of the model.
    """
    one = export.detector
    integers = f"void {kind}Posteriors(const std::int8_t* outputs, float* posteriors);\n" if _is_int8(output) else ""
    return HEADER.format(
        notice=notice,
        guard=guard,
        kind=kind,
        step=f"{one.step:g}",
        step_literal=float_literal(one.step, "The step"),
        classes=len(one.classes),
        smoothing=f"{one.settings.smoothing:g}",
        window=one.window,
        suppression=f"{one.settings.suppression:g}",
        hold=one.hold,
        words=comment(", ".join(one.classes)),
        never=f"{NEVER:g}",
        thresholds=", ".join(float_literal(value, "A threshold") for value in one.thresholds),
        outputs="logits" if export.logits else "probabilities already",
        integers=integers,
    )


def detector_source(notice: str, kind: str, name: str, export: DetectorExport, output: TensorFacts) -> str:
    """Return NAME_detector.cc; arguments as of `detector_header`, and the name of the files."""
    floats = (SOFTMAX if export.logits else COPY).format(kind=kind)
    text = SOURCE.format(name=name, notice=notice, kind=kind, floats=floats)
    if _is_int8(output):
        scale = float_literal(output.scale or 1.0, "A scale")
        text += INTEGERS.format(kind=kind, scale=scale, zero=output.zero_point)
    return text


def _is_int8(output: TensorFacts) -> bool:
    return output.dtype == "int8" and output.scale is not None
