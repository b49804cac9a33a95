#pragma once

#include "notellm/kernels/table.h"

// One namespace for each compilation of the loops.
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
