#pragma once

#include <string>
#include <vector>

#include "notellm/embedding/options.h"
#include "notellm/generation/options.h"
#include "notellm/mining/options.h"
#include "notellm/options/option.h"

namespace notellm {

/// The groups of a run's configuration that the core uses; the others (data, training, evaluation
/// ...) are described and read in Python.
struct RunOptions {
  MiningOptions mining;
  EmbedOptions embed;
  GenerationOptions generation;
};

/// The description of these groups.
std::vector<OptionGroup> core_groups();

/// Reads these groups from a run folder's `config.yaml`; other groups are ignored.
///
/// @throws ConfigError `path:line: ...` if the file cannot be read, or a key of these groups is
///         missing (unless it was added later), unknown, of the wrong type or out of range; `path:
///         group: ...` if values do not fit together.
RunOptions read_run_options(const std::string& path);

}  // namespace notellm
