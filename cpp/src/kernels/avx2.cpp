// The loops, compiled for this instruction set (flags in CMakeLists.txt).
#define NOTELLM_ISA avx2
#include "loops.h"
