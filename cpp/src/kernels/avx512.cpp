// The loops, compiled for this instruction set (flags in CMakeLists.txt).
#define NOTELLM_ISA avx512
#include "loops.h"
