#include "kernels/cpu/bf16_inner_product.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu/bf16.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

using Halves = std::vector<std::uint16_t>;

// A matrix as it lies in memory, or transposed.
enum class Order { kRows, kColumns };

// c = a * b, {m, n} = {m, k} * {k, n}.
class Product {
 public:
  Product(const dnnl::engine& engine, int m, int n, int k, Order a, Order b)
      : a_(Describe(m, k, a), engine, nullptr),
        b_(Describe(k, n, b), engine, nullptr),
        c_({{m, n}, dnnl::memory::data_type::f32, dnnl::memory::dims{n, 1}}, engine, nullptr),
        product_({{a_.get_desc(), b_.get_desc(), c_.get_desc()}, engine}) {}

  void Run(dnnl::stream& stream, const Halves& a, const Halves& b, float* c) {
    a_.set_data_handle(const_cast<std::uint16_t*>(a.data()));
    b_.set_data_handle(const_cast<std::uint16_t*>(b.data()));
    c_.set_data_handle(c);
    product_.execute(stream, {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}});
  }

 private:
  static dnnl::memory::desc Describe(int rows, int columns, Order order) {
    const bool lies = order == Order::kRows;
    return {{rows, columns}, dnnl::memory::data_type::bf16, dnnl::memory::dims{lies ? columns : 1, lies ? 1 : rows}};
  }

  dnnl::memory a_, b_, c_;
  dnnl::matmul product_;
};

// Products are of whole batches; a smaller one is filled up with zeros.
class Bf16InnerProduct final : public InnerProduct {
 public:
  Bf16InnerProduct(const InnerProductSpec& spec, int max_batch, int threads)
      : inputs_(spec.inputs),
        outputs_(spec.outputs),
        threads_(threads),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_),
        forward_(engine_, max_batch, outputs_, inputs_, Order::kRows, Order::kColumns),
        backward_data_(engine_, max_batch, inputs_, outputs_, Order::kRows, Order::kRows),
        backward_weights_(engine_, outputs_, inputs_, max_batch, Order::kColumns, Order::kRows),
        values_(static_cast<std::size_t>(max_batch) * inputs_),
        gradients_(static_cast<std::size_t>(max_batch) * outputs_),
        weights_(static_cast<std::size_t>(inputs_) * outputs_),
        result_(static_cast<std::size_t>(max_batch) * std::max(inputs_, outputs_)) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    Round(input, &values_);
    RoundToBf16(weights, weights_.size(), weights_.data());
    Run(forward_, values_, weights_, result_.data());
    const std::size_t size = outputs_;
    for (int n = 0; n < input.batch; ++n) {
      std::copy_n(result_.data() + n * size, size, output.sample(n));
      Axpy(1, {bias, size}, {output.sample(n), size});
    }
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights, TensorView input_gradient) override {
    Round(output_gradient, &gradients_);
    RoundToBf16(weights, weights_.size(), weights_.data());
    Run(backward_data_, gradients_, weights_, result_.data());
    std::copy_n(result_.data(), input_gradient.size(), input_gradient.data);
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    Round(input, &values_);
    Round(output_gradient, &gradients_);
    Run(backward_weights_, gradients_, values_, weight_gradient);
    const std::span<float> bias(bias_gradient, outputs_);
    Zero(bias);
    for (int n = 0; n < output_gradient.batch; ++n) Axpy(1, {output_gradient.sample(n), bias.size()}, bias);
  }

 private:
  static void Round(ConstTensorView view, Halves* to) {
    RoundToBf16(view.data, view.size(), to->data());
    std::fill(to->begin() + static_cast<std::ptrdiff_t>(view.size()), to->end(), 0);
  }

  void Run(Product& product, const Halves& a, const Halves& b, float* c) {
    omp_set_num_threads(threads_);  // OpenMP keeps the number for each calling thread
    product.Run(stream_, a, b, c);
    stream_.wait();
  }

  const int inputs_;
  const int outputs_;
  const int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  Product forward_;
  Product backward_data_;
  Product backward_weights_;
  Halves values_;
  Halves gradients_;
  Halves weights_;
  AlignedBuffer result_;
};

}  // namespace

std::unique_ptr<InnerProduct> MakeBf16InnerProduct(const InnerProductSpec& spec, int max_batch, int threads) {
  try {
    return std::make_unique<Bf16InnerProduct>(spec, max_batch, threads);
  } catch (const dnnl::error&) {
    return nullptr;
  }
}

}  // namespace downpour::kernels::cpu
