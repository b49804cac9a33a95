#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>

/// What a function requires of a tensor before it takes a raw pointer. A check is a few comparisons
/// and throws std::invalid_argument: `where: name must be (4, *) of float32, but is ...`.
namespace notellm::internal {

/// A size that may be any.
inline constexpr int64_t kAny = -1;

/// A tensor of these sizes that holds numbers: defined, strided and not on the meta device.
void check_shape(std::string_view where,
                 std::string_view name,
                 const at::Tensor& x,
                 std::initializer_list<int64_t> sizes);

/// The same of one dtype.
void check_tensor(std::string_view where,
                  std::string_view name,
                  const at::Tensor& x,
                  std::initializer_list<int64_t> sizes,
                  at::ScalarType dtype);

/// The same of any floating-point dtype.
void check_floating(std::string_view where,
                    std::string_view name,
                    const at::Tensor& x,
                    std::initializer_list<int64_t> sizes);

/// On the device of what it is computed with.
void check_device(std::string_view where,
                  std::string_view name,
                  const at::Tensor& x,
                  at::Device device);

/// (size) int64 in [0, limit). Read where it is on the CPU; elsewhere that would wait for the
/// device.
/// @throws std::out_of_range  for one that is not.
void check_indices(std::string_view where,
                   std::string_view name,
                   const at::Tensor& x,
                   int64_t size,
                   int64_t limit);

}  // namespace notellm::internal
