// The loops, compiled for this instruction set (flags in CMakeLists.txt).
#define NOTELLM_ISA baseline
#include "loops.h"
