#pragma once
#include <torch/csrc/autograd/custom_function.h>

#include <cassert>
#include <cstdint>

// What the Functions of this folder share. Internal to autograd/.
namespace lowbit::autograd {

/// Layers outlive the graph that points to them, so the graph holds plain pointers.
template <class T>
void keep_pointer(torch::autograd::AutogradContext* graph, const char* name, T* pointer) {
  graph->saved_data[name] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(pointer));
}
template <class T>
T* kept_pointer(torch::autograd::AutogradContext* graph, const char* name) {
  return reinterpret_cast<T*>(static_cast<std::intptr_t>(graph->saved_data[name].toInt()));
}

/// Uninitialized float32 [rows, columns].
at::Tensor new_rows(std::int64_t rows, std::size_t columns);

inline const float* data(const at::Tensor& t) {
  assert(t.is_contiguous() && t.scalar_type() == at::kFloat);
  return t.const_data_ptr<float>();
}
inline float* mutable_data(const at::Tensor& t) {
  assert(t.is_contiguous() && t.scalar_type() == at::kFloat);
  return t.mutable_data_ptr<float>();
}

inline std::size_t rows_of(const at::Tensor& t) { return static_cast<std::size_t>(t.size(0)); }
inline std::size_t columns_of(const at::Tensor& t) { return static_cast<std::size_t>(t.size(1)); }

}  // namespace lowbit::autograd
