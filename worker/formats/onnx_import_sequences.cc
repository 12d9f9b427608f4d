#include "worker/formats/onnx_import_sequences.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

using Sides = OnnxPath::Sides;
using Values = std::vector<float>;

constexpr std::int64_t kMostOutputs = 1 << 20;

bool HasSides(const onnx::TensorProto* tensor, const Sides& sides) {
  return tensor != nullptr && std::ranges::equal(tensor->dims(), sides);
}

// The blocks of a parameter, one for each gate, in the order of a job's layers: `order` says which one of them each of
// the file's is.
Values Gates(std::span<const float> values, std::span<const int> order) {
  const std::size_t block = values.size() / order.size();
  Values ordered(values.size());
  for (std::size_t gate = 0; gate < order.size(); ++gate) {
    std::ranges::copy(values.subspan(gate * block, block),
                      ordered.begin() + order[gate] * static_cast<std::ptrdiff_t>(block));
  }
  return ordered;
}

// Whether there is no such input, or it is a constant of zeros.
bool IsNothing(const OnnxPath& path, int input) {
  if (input >= path.node().input_size() || path.node().input(input).empty()) return true;
  const auto values = path.Floats(input);
  return values && std::ranges::all_of(*values, [](float value) { return value == 0; });
}

struct Recurrent {
  const char* type;
  std::span<const int> order;  // of gates
  std::int64_t outputs;
  Values weight_ih, weight_hh, bias_ih, bias_hh;
};

// Of the reader's node, which takes so many inputs. None, and a mistake, where it is not as a job's layers are.
std::optional<Recurrent> ReadNode(OnnxReader& reader, bool lstm, std::int64_t inputs) {
  static constexpr std::array kLstm = {0, 3, 1, 2};
  static constexpr std::array kGru = {1, 0, 2};
  const auto refused = [&](const std::string& what) {
    reader.Mistake(what);
    return std::nullopt;
  };
  const OnnxPath path(reader);
  const OnnxAttributes attributes(reader.node());
  for (const char* known : {"activations", "clip", "input_forget", "layout"}) {
    if (attributes.Find(known) != nullptr) return refused(absl::StrCat("has ", known));
  }
  if (attributes.Text("direction", "forward") != "forward") return refused("goes another way than forward");
  if (!lstm && attributes.Int("linear_before_reset", 0) != 1) return refused("linear_before_reset is not 1");
  if (reader.node().input_size() > 4 && !reader.node().input(4).empty()) return refused("takes lengths of sequences");
  for (const int state : {5, 6, 7}) {
    if (!IsNothing(path, state)) return refused("begins with a state other than zeros, or has peepholes");
  }
  Recurrent read{lstm ? "lstm" : "gru", lstm ? std::span<const int>(kLstm) : kGru, attributes.Int("hidden_size", 0)};
  if (read.outputs < 1 || read.outputs > kMostOutputs) return refused("hidden_size is out of bounds");
  const auto rows = static_cast<std::int64_t>(read.order.size()) * read.outputs;
  const auto weight_ih = path.Floats(1), weight_hh = path.Floats(2);
  if (!HasSides(path.Constant(1), {1, rows, inputs}) || !HasSides(path.Constant(2), {1, rows, read.outputs}) ||
      !weight_ih || !weight_hh) {
    return refused(absl::StrCat("its weights are no constants of 1 x ", rows, " x ", inputs, " and 1 x ", rows, " x ",
                                read.outputs));
  }
  read.weight_ih = Gates(*weight_ih, read.order);
  read.weight_hh = Gates(*weight_hh, read.order);
  Values biases(2 * static_cast<std::size_t>(rows));
  if (reader.node().input_size() > 3 && !reader.node().input(3).empty()) {
    const auto given = path.Floats(3);
    if (!given || given->size() != biases.size())
      return refused(absl::StrCat("its biases are no constant of 1 x ", 2 * rows));
    biases = *given;
  }
  read.bias_ih = Gates(std::span(biases).first(static_cast<std::size_t>(rows)), read.order);
  read.bias_hh = Gates(std::span(biases).last(static_cast<std::size_t>(rows)), read.order);
  return read;
}

// Of any form. Null, and a mistake, where no node before gave it.
const OnnxSource* FirstInput(OnnxReader& reader) {
  const OnnxSource* const found = reader.SourceOf(OnnxPath(reader).input());
  if (found == nullptr) reader.Mistake("no node before it gives its values");
  return found;
}

void AddRecurrent(OnnxReader& reader, bool lstm) {
  const OnnxSource* const found = FirstInput(reader);
  if (found == nullptr) return;
  if (found->form != OnnxForm::kStepsFirst)
    return reader.Mistake("takes no sequence whose steps come before the batch");
  const OnnxSource source = *found;
  const auto read = ReadNode(reader, lstm, reader.ShapeOf(source).width);
  if (!read) return;
  const auto is_taken = [&](int output) {
    return output < reader.node().output_size() && !reader.TakersOf(reader.node().output(output)).empty();
  };
  const bool last = is_taken(1);
  if (is_taken(2) || (last && is_taken(0)))
    return reader.Mistake("more than one of its outputs is taken, or its cells");
  const bool added = reader.Add(
      read->type, {{.place = source.place}},
      [&](Layer* layer) {
        layer->set_outputs(static_cast<std::uint32_t>(read->outputs));
        if (last) layer->set_last(true);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight_ih_l0", {.made = read->weight_ih});
  reader.SetParameter("weight_hh_l0", {.made = read->weight_hh});
  reader.SetParameter("bias_ih_l0", {.made = read->bias_ih});
  reader.SetParameter("bias_hh_l0", {.made = read->bias_hh});
  const int place = reader.Last().place;
  if (last) return reader.Give({.place = place, .form = OnnxForm::kDirections}, 1);
  reader.Give({.place = place, .form = OnnxForm::kStepsDirections});
}

// {inputs, outputs} as {outputs, inputs}, behind what is there.
void AppendTurned(const Values& columns, std::size_t outputs, Values* rows) {
  const std::size_t inputs = columns.size() / outputs;
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t i = 0; i < inputs; ++i) rows->push_back(columns[i * outputs + o]);
  }
}

// A product with a square matrix, and biases.
struct Projection {
  Values weight, bias;
  std::string value;  // that it gives
};

// From a MatMul on, which is the path's node.
std::optional<Projection> ReadProjection(OnnxPath& path, std::int64_t features) {
  if (path.node().op_type() != "MatMul" || !HasSides(path.Constant(1), {features, features})) return std::nullopt;
  const auto weight = path.Floats(1);
  if (!weight || !path.Next("Add")) return std::nullopt;
  const auto bias = path.Constant(0) != nullptr ? path.Floats(0) : path.Floats(1);
  if (!bias || bias->size() != static_cast<std::size_t>(features) || path.node().output_size() != 1)
    return std::nullopt;
  return Projection{*weight, *bias, path.node().output(0)};
}

// Whether a mask lets each step see those up to its own.
bool IsCausal(const Values& mask, std::int64_t steps) {
  if (mask.size() != static_cast<std::size_t>(steps * steps)) return false;
  for (std::int64_t from = 0; from < steps; ++from) {
    for (std::int64_t to = 0; to < steps; ++to) {
      const float value = mask[static_cast<std::size_t>(from * steps + to)];
      if (to <= from ? value != 0 : !(std::isinf(value) && value < 0)) return false;
    }
  }
  return true;
}

}  // namespace

// Ids come as integers, which here are whole numbers.
void ReadCast(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const std::int64_t to = reader.Int("to", 0);
  const bool whole = to == onnx::TensorProto::INT64 || to == onnx::TensorProto::INT32;
  const auto takers = reader.TakersOf(reader.node().output_size() > 0 ? reader.node().output(0) : "");
  const bool ids = whole && !takers.empty() && std::ranges::all_of(takers, [](const onnx::NodeProto* taker) {
                     return taker->op_type() == "Gather";
                   });
  if (to != onnx::TensorProto::FLOAT && !ids)
    return reader.Mistake("to a type that is neither floats nor that of ids for a Gather");
  reader.Give(*source);
}

// Of a table by ids, or of one step of a sequence.
void ReadGather(OnnxReader& reader) {
  if (const onnx::TensorProto* const table = reader.ConstantAt(0)) {
    const OnnxSource* const ids = reader.SourceAt(1);
    if (ids == nullptr) return;
    const kernels::Shape shape = reader.ShapeOf(*ids);
    const bool row = ids->form == OnnxForm::kRow || (shape.height == 1 && shape.width == 1);
    if (!row || ids->form == OnnxForm::kSteps) return reader.Mistake("its ids are no row");
    if (table->dims_size() != 2 || reader.Int("axis", 0) != 0) return reader.Mistake("is not of the rows of a table");
    const std::int64_t vocabulary = table->dims(0), outputs = table->dims(1);
    if (vocabulary < 1 || vocabulary > INT32_MAX || outputs < 1 || outputs > kMostOutputs) {
      return reader.Mistake("of a table that is empty or too large");
    }
    const bool added = reader.Add(
        "embedding", {{.place = ids->place, .padding = ids->padding}},
        [&](Layer* layer) {
          layer->set_vocabulary(static_cast<std::uint32_t>(vocabulary));
          layer->set_outputs(static_cast<std::uint32_t>(outputs));
        },
        reader.node().input(0));
    if (!added) return;
    reader.SetParameter("weight", {table});
    return reader.Give({.place = reader.Last().place, .form = OnnxForm::kSteps});
  }
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const onnx::TensorProto* const index = reader.ConstantAt(1);
  const auto indices = index == nullptr ? std::nullopt : reader.Integers(*index);
  if (source->form != OnnxForm::kSteps || reader.Int("axis", 0) != 1 || !indices || indices->size() != 1 ||
      index->dims_size() != 0) {
    return reader.Mistake("is neither of a table nor of one step of a sequence");
  }
  const std::int64_t steps = reader.ShapeOf(*source).channels;
  const std::int64_t step = indices->front() < 0 ? indices->front() + steps : indices->front();
  if (step < 0 || step >= steps) return reader.Mistake("is of a step that is not there");
  const bool added = reader.Add("slice", {{.place = source->place, .padding = source->padding}}, [&](Layer* layer) {
    if (step > 0) layer->set_from(static_cast<std::uint32_t>(step));
    if (step + 1 < steps) layer->set_to(static_cast<std::uint32_t>(step + 1));
  });
  if (added) reader.Give({.place = reader.Last().place, .form = OnnxForm::kRow});
}

void ReadLstm(OnnxReader& reader) { AddRecurrent(reader, true); }
void ReadGru(OnnxReader& reader) { AddRecurrent(reader, false); }

// To steps before the batch, and back.
void ReadTranspose(OnnxReader& reader) {
  const OnnxSource* const found = FirstInput(reader);
  if (found == nullptr) return;
  const Sides axes = reader.Ints("perm", 0, 0);
  OnnxSource turned = *found;
  if (turned.padding == 0 && turned.form == OnnxForm::kSteps && axes == Sides{1, 0, 2}) {
    turned.form = OnnxForm::kStepsFirst;
  } else if (turned.form == OnnxForm::kStepsFirst && axes == Sides{1, 0, 2}) {
    turned.form = OnnxForm::kSteps;
  } else if (turned.form == OnnxForm::kStepsDirections && axes == Sides{2, 0, 1, 3}) {
    turned.form = OnnxForm::kWhole;
  } else {
    return reader.Mistake("turns something else than a sequence around a recurrent layer");
  }
  reader.Give(turned);
}

// Of the one direction of a recurrent layer.
void ReadSqueeze(OnnxReader& reader) {
  const OnnxSource* const found = FirstInput(reader);
  if (found == nullptr) return;
  Sides axes = reader.Ints("axes", 0, 0);
  if (const onnx::TensorProto* const given = reader.ConstantAt(1)) axes = reader.Integers(*given).value_or(Sides());
  OnnxSource squeezed = *found;
  if (squeezed.form == OnnxForm::kStepsDirections && axes == Sides{1}) {
    squeezed.form = OnnxForm::kStepsFirst;
  } else if (squeezed.form == OnnxForm::kDirections && axes == Sides{0}) {
    squeezed.form = OnnxForm::kRow;
  } else {
    return reader.Mistake("of something else than the directions of a recurrent layer");
  }
  reader.Give(squeezed);
}

// Three products of the same steps, by heads; softmax of the scaled products of two of them, which weighs the third's
// steps; and a fourth.
bool ReadSelfAttention(OnnxPath& path) {
  OnnxReader& reader = path.reader();
  const std::string x = path.input();
  const OnnxSource* const found = reader.SourceOf(x);
  if (found == nullptr || found->form != OnnxForm::kSteps || found->padding != 0) return false;
  const OnnxSource source = *found;
  const std::int64_t steps = reader.ShapeOf(source).channels, features = reader.ShapeOf(source).width;
  const auto takers = path.TakersOf(x);
  if (takers.size() != 3) return false;
  std::vector<Projection> all;
  std::int64_t heads = 0;
  std::size_t key = takers.size();
  for (const onnx::NodeProto* const taker : takers) {
    path.GoTo(*taker);
    auto projection = ReadProjection(path, features);
    if (!projection || taker->input(0) != x || !path.Next("Reshape")) return false;
    const auto by_head = path.Integers(1);
    if (!by_head || by_head->size() != 4 || (*by_head)[2] < 1 || features % (*by_head)[2] != 0) return false;
    if (all.empty()) heads = (*by_head)[2];
    if (*by_head != Sides{0, steps, heads, features / heads} || !path.Next("Transpose")) return false;
    if (path.Is("perm", Sides{0, 2, 3, 1})) {
      key = all.size();
    } else if (!path.Is("perm", Sides{0, 2, 1, 3})) {
      return false;
    }
    if (path.node().output_size() != 1) return false;
    projection->value = path.node().output(0);
    all.push_back(*std::move(projection));
  }
  if (key == takers.size() || !path.NextOf(all[key].value, "MatMul")) return false;
  if (path.node().input_size() != 2 || path.node().input(1) != all[key].value) return false;
  const auto query = std::ranges::find(all, path.node().input(0), &Projection::value) - all.begin();
  const std::size_t value = 3 - key - static_cast<std::size_t>(query);
  if (query == 3 || value > 2 || value == key || path.TakersOf(all[static_cast<std::size_t>(query)].value).size() != 1)
    return false;
  if (!path.Next("Mul")) return false;
  const auto factor = path.Number(1);
  if (!factor || std::abs(*factor * std::sqrt(static_cast<float>(features / heads)) - 1) > 1e-5f) return false;
  const bool causal = path.Next("Add");
  if (causal) {
    const auto mask = path.Floats(1);
    if (!mask || !IsCausal(*mask, steps)) return false;
  }
  if (!path.Next("Softmax") || !(path.Is("axis", 3, -1) || path.Is("axis", -1, -1)) || path.node().output_size() != 1)
    return false;
  const std::string weights = path.node().output(0);
  if (!path.Next("MatMul") || path.node().input_size() != 2 || path.node().input(0) != weights) return false;
  if (path.node().input(1) != all[value].value || path.TakersOf(all[value].value).size() != 1) return false;
  if (!path.Next("Transpose") || !path.Is("perm", Sides{0, 2, 1, 3}) || !path.Next("Reshape")) return false;
  const auto joined = path.Integers(1);
  if (!joined || *joined != Sides{0, steps, features} || !path.Next("MatMul")) return false;
  const auto out = ReadProjection(path, features);
  if (!out) return false;
  OnnxForm form = OnnxForm::kSteps;
  const auto next = path.TakersOf(out->value);
  if (next.size() == 1 && next[0]->op_type() == "Reshape" && next[0]->input_size() == 2) {
    const onnx::TensorProto* const shape = reader.ConstantOf(next[0]->input(1));
    const auto sides = shape == nullptr ? absl::StatusOr<Sides>(Sides()) : IntegersOf(*shape);
    if (sides.ok() && *sides == Sides{0, steps, 1, features}) {
      path.GoTo(*next[0]);
      form = OnnxForm::kWhole;
    }
  }
  path.Take();
  const bool added = reader.Add("self_attention", {{.place = source.place}}, [&](Layer* layer) {
    layer->set_heads(static_cast<std::uint32_t>(heads));
    if (causal) layer->set_causal(true);
  });
  if (!added) return true;
  Values in_weight, in_bias, out_weight;
  for (const std::size_t each : {static_cast<std::size_t>(query), key, value}) {
    AppendTurned(all[each].weight, static_cast<std::size_t>(features), &in_weight);
    in_bias.insert(in_bias.end(), all[each].bias.begin(), all[each].bias.end());
  }
  AppendTurned(out->weight, static_cast<std::size_t>(features), &out_weight);
  reader.SetParameter("in_proj_weight", {.made = std::move(in_weight)});
  reader.SetParameter("in_proj_bias", {.made = std::move(in_bias)});
  reader.SetParameter("out_proj.weight", {.made = std::move(out_weight)});
  reader.SetParameter("out_proj.bias", {.made = out->bias});
  reader.Give({.place = reader.Last().place, .form = form});
  return true;
}

}  // namespace downpour::formats
