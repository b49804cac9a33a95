#pragma once

#include "notellm/kernels/table.h"

// One compilation of the loops each.
namespace notellm::kernels {
namespace baseline {
const Tables& tables();
}
namespace avx2 {
const Tables& tables();
}
namespace avx512 {
const Tables& tables();
}
namespace avx512_bf16 {
const Tables& tables();
}
}  // namespace notellm::kernels
