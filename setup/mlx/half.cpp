// The half-precision accessors that mlx-rs links and mlx-c 0.7.0 leaves out on x86-64 (its half.h knows only ARM's types).
// mlx_array is a struct holding one pointer to a mlx::core::array; both half types are two bytes wide.
#include <cstdint>
#include <cstring>
#include <exception>
#include <mlx/array.h>

struct mlx_array {
  void* ctx;
};

namespace {
mlx::core::array& get(mlx_array array) {
  return *static_cast<mlx::core::array*>(array.ctx);
}

template <typename Half>
int item(uint16_t* result, mlx_array array) {
  try {
    const Half value = get(array).item<Half>();
    static_assert(sizeof(value) == sizeof(*result));
    std::memcpy(result, &value, sizeof(value));
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

template <typename Half>
const uint16_t* data(mlx_array array) {
  try {
    return reinterpret_cast<const uint16_t*>(get(array).data<Half>());
  } catch (const std::exception&) {
    return nullptr;
  }
}
} // namespace

extern "C" {
int mlx_array_item_float16(uint16_t* result, mlx_array array) {
  return item<mlx::core::float16_t>(result, array);
}
int mlx_array_item_bfloat16(uint16_t* result, mlx_array array) {
  return item<mlx::core::bfloat16_t>(result, array);
}
const uint16_t* mlx_array_data_float16(mlx_array array) {
  return data<mlx::core::float16_t>(array);
}
const uint16_t* mlx_array_data_bfloat16(mlx_array array) {
  return data<mlx::core::bfloat16_t>(array);
}
}
