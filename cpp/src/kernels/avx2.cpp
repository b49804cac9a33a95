// The loops, compiled for this instruction set (flags in CMakeLists.txt).
#ifndef __AVX2__
#error "this file must be compiled with the flags of its instruction set"
#endif
#include <immintrin.h>
#define NOTELLM_ISA avx2
#include "loops.h"
