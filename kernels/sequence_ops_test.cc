// The ops of sequences, of every device, against the reference.
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <vector>

#include "kernels/device.h"
#include "kernels/op_testing.h"

namespace downpour::kernels {
namespace {

TEST_CASE("embedding") {
  const EmbeddingSpec specs[] = {{.steps = 7, .vocabulary = 5, .outputs = 9},
                                 {.steps = 1, .vocabulary = 1, .outputs = 1},
                                 {.steps = 600, .vocabulary = 11, .outputs = 150}};
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const EmbeddingSpec& spec : specs) {
      const Shape in{spec.steps}, out{spec.steps, 1, spec.outputs};
      std::vector<float> ids(batch * in.size());
      for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<float>(i * i % spec.vocabulary);
      const auto w = Values(static_cast<std::size_t>(spec.vocabulary) * spec.outputs, 1);
      const auto dy = Values(batch * out.size(), 2);
      const auto run = [&](Device& each, const std::vector<float>& x) {
        auto op = each.MakeEmbedding(spec, kMaxBatch);
        const Tensor input(each, x, batch, in), weights(each, w), output_gradient(each, dy, batch, out);
        std::vector<Tensor> all;
        all.emplace_back(each, Rubbish(dy.size()), batch, out);
        all.emplace_back(each, Rubbish(w.size()));
        all.emplace_back(each, Rubbish(x.size()), batch, in);
        op->Forward(input, weights.data(), all[0]);
        op->BackwardWeights(input, output_gradient, all[1].data());
        op->BackwardData(all[2]);
        return ValuesOf(all);
      };
      RequireClose(run(device, ids), run(reference, ids));
      for (const float wrong :
           {-1.0f, static_cast<float>(spec.vocabulary), 0.5f, 3e38f, -3e38f, std::nanf(""), INFINITY}) {
        ids[0] = wrong;
        Results seen = run(device, ids), expected = run(reference, ids);
        for (int o = 0; o < spec.outputs; ++o) {
          CHECK(std::isnan(seen[0][o]));
          seen[0][o] = expected[0][o] = 0;
        }
        RequireClose(seen, expected);
      }
    }
  });
}

TEST_CASE("attention") {
  const AttentionSpec specs[] = {
      {.steps = 7, .features = 12, .heads = 3},
      {.steps = 7, .features = 12, .heads = 3, .causal = true},
      {.steps = 20, .features = 40, .heads = 1},
      {.steps = 33, .features = 16, .heads = 16, .causal = true},
      {.steps = 90, .features = 96, .heads = 2},
      {.steps = 1, .features = 5, .heads = 1},
      {.steps = 4, .features = 1, .heads = 1, .causal = true},
  };
  ForEachDevice([&](Device& device, Device& reference, int batch) {
    for (const AttentionSpec& spec : specs) {
      INFO(spec.steps << " steps, " << spec.features << " features, " << spec.heads << " heads");
      const Shape in{spec.steps, 1, 3 * spec.features}, out{spec.steps, 1, spec.features};
      auto x = Values(batch * in.size(), 1);
      for (float& value : x) value *= 3;
      const auto dy = Values(batch * out.size(), 2);
      const auto run = [&](Device& each) {
        auto op = each.MakeAttention(spec, kMaxBatch);
        const Tensor input(each, x, batch, in), output_gradient(each, dy, batch, out);
        std::vector<Tensor> all;
        for (int k = 0; k < 2; ++k) {  // the second time on what the first has left in the scratch memory
          all.emplace_back(each, Rubbish(dy.size()), batch, out);
          all.emplace_back(each, Rubbish(x.size()), batch, in);
          op->Forward(input, all[2 * k]);
          op->Backward(input, output_gradient, all[2 * k + 1]);
        }
        return ValuesOf(all);
      };
      const Results seen = run(device);
      RequireClose(seen, run(reference));
      CHECK(seen[0] == seen[2]);
      CHECK(seen[1] == seen[3]);
    }
  });
}

TEST_CASE("causal attention sees no later step") {
  const AttentionSpec spec{.steps = 6, .features = 4, .heads = 2, .causal = true};
  const Shape in{6, 1, 12}, out{6, 1, 4};
  ForEachDevice([&](Device& device, Device&, int batch) {
    auto op = device.MakeAttention(spec, kMaxBatch);
    auto x = Values(batch * in.size(), 1);
    const auto forward = [&] {
      const Tensor output(device, Rubbish(batch * out.size()), batch, out);
      op->Forward(Tensor(device, x, batch, in), output);
      return output.Get();
    };
    const auto before = forward();
    const std::size_t changed = 3;
    for (std::size_t i = changed * 12; i < in.size(); ++i) x[i] += 1;  // of the first sample
    const auto after = forward();
    for (std::size_t i = 0; i < after.size(); ++i) {
      const bool later = i >= changed * 4 && i < out.size();
      if ((after[i] == before[i]) == later) FAIL("at " << i);
    }
  });
}

TEST_CASE("recurrent nets") {
  struct Cell {
    const char* name;
    int gates;
    std::unique_ptr<Recurrent> (Device::*make)(const RecurrentSpec&, int);
  };
  const Cell cells[] = {{"lstm", 4, &Device::MakeLstm}, {"gru", 3, &Device::MakeGru}};
  const RecurrentSpec specs[] = {
      {.steps = 6, .inputs = 5, .outputs = 7},
      {.steps = 6, .inputs = 5, .outputs = 7, .last = true},
      {.steps = 1, .inputs = 3, .outputs = 17},
      {.steps = 1, .inputs = 1, .outputs = 1, .last = true},
      {.steps = 25, .inputs = 1, .outputs = 40, .last = true},
      {.steps = 9, .inputs = 33, .outputs = 2},
  };
  for (const Cell& cell : cells) {
    ForEachDevice([&](Device& device, Device& reference, int batch) {
      for (const RecurrentSpec& spec : specs) {
        INFO(cell.name << ", " << spec.steps << " steps, " << spec.inputs << " to " << spec.outputs
                       << (spec.last ? ", last" : ""));
        const Shape in{spec.steps, 1, spec.inputs};
        const std::size_t rows = static_cast<std::size_t>(cell.gates) * spec.outputs;
        const auto x = Values(batch * in.size(), 1), dy = Values(batch * spec.output().size(), 2);
        const std::vector<float> parameters[] = {Values(rows * spec.inputs, 3), Values(rows * spec.outputs, 4),
                                                 Values(rows, 5), Values(rows, 6)};
        const auto run = [&](Device& each) {
          auto op = (each.*cell.make)(spec, kMaxBatch);
          const Tensor input(each, x, batch, in), output_gradient(each, dy, batch, spec.output());
          std::vector<Tensor> given, all;
          for (const auto& values : parameters) given.emplace_back(each, values);
          const RecurrentWeights weights{given[0].data(), given[1].data(), given[2].data(), given[3].data()};
          for (int k = 0; k < 2; ++k) {  // the second time on what the first has left in the scratch memory
            const int first = 6 * k;
            for (const auto& values : parameters) all.emplace_back(each, Rubbish(values.size()));
            all.emplace_back(each, Rubbish(dy.size()), batch, spec.output());
            all.emplace_back(each, Rubbish(x.size()), batch, in);
            const RecurrentGradients gradients{all[first].data(), all[first + 1].data(), all[first + 2].data(),
                                               all[first + 3].data()};
            op->Forward(input, weights, all[first + 4]);
            op->Backward(input, weights, output_gradient, gradients, all[first + 5]);
            if (k == 0) op->Backward(input, weights, output_gradient, gradients, {});  // nobody needs the input's
          }
          return ValuesOf(all);
        };
        const Results seen = run(device), expected = run(reference);
        const float allowed = 1e-4f * std::sqrt(static_cast<float>(batch * spec.steps));  // sums over steps
        for (std::size_t k = 0; k < seen.size(); ++k) {
          INFO("result " << k);
          RequireClose(seen[k], expected[k], allowed);
          CHECK(seen[k] == seen[k % 6]);
        }
      }
    });
  }
}

}  // namespace
}  // namespace downpour::kernels
