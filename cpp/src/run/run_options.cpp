#include "notellm/run/run_options.h"

#include <fstream>
#include <sstream>

#include "notellm/options/check.h"
#include "notellm/options/described.h"
#include "notellm/options/yaml.h"

namespace notellm {

std::vector<OptionGroup> core_groups() {
  return {described<MiningOptions>("mining"), described<EmbedOptions>("embed"),
          described<GenerationOptions>("generation")};
}

RunOptions read_run_options(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    throw ConfigError(path + ": must be a readable file that is not empty, but is not");
  }
  const GroupValues values =
      check(parse_yaml(text.str(), path), core_groups(), {.name = path, .skips_others = true});
  return {made_of<MiningOptions>(values.at("mining"), path + ": mining"),
          made_of<EmbedOptions>(values.at("embed"), path + ": embed"),
          made_of<GenerationOptions>(values.at("generation"), path + ": generation")};
}

}  // namespace notellm
