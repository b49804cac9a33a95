// The loops, compiled for this instruction set (flags in CMakeLists.txt).
#ifndef __AVX512F__
#error "this file must be compiled with the flags of its instruction set"
#endif
#define NOTELLM_ISA avx512
#include "loops.h"
