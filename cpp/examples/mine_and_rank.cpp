// Mines related notes and ranks vectors with the options of a run:
//
//   mine_and_rank CONFIG LOG VECTORS OUTPUT
//
// CONFIG   a run folder's config.yaml
// LOG      lines of "user note time", whole numbers that begin at 0; users' events in any order
// VECTORS  the notes' vectors: fp32, row after row, a row for each note
// OUTPUT   written: for every pair "source target score rank", the score with all its digits; the
//          rank is how many notes are nearer to the source than the target is, by inner product
#include <ATen/Functions.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "notellm/mining/cooccurrence.h"
#include "notellm/retrieval/rank.h"
#include "notellm/run/run_options.h"
#include "notellm/util/check.h"

namespace {

struct Log {
  std::vector<int64_t> users, notes, times;
};

constexpr const char* kUnreadable = "must be a file that can be read, but is not";

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw notellm::DataError(where + ": " + what);
}

std::ifstream opened(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(path, kUnreadable);
  return file;
}

Log read_log(const std::string& path) {
  std::ifstream file = opened(path);
  Log log;
  int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    std::istringstream fields(line);
    int32_t user = -1, note = -1;
    int64_t time = 0;
    const bool is_whole = (fields >> user >> note >> time) && (fields >> std::ws).eof();
    if (!is_whole || user < 0 || note < 0) {
      refuse(path + ":" + std::to_string(number),
             "must be 'user note time', whole numbers of which the first two are in [0, 2^31), but "
             "is '" +
                 line + "'");
    }
    log.users.push_back(user);
    log.notes.push_back(note);
    log.times.push_back(time);
  }
  if (log.users.empty()) refuse(path, "must have a line for every event, but has none");
  return log;
}

int64_t count_of(const std::vector<int64_t>& indices) {
  return *std::ranges::max_element(indices) + 1;
}

at::Tensor read_vectors(const std::string& path, int64_t notes) {
  std::ifstream file = opened(path);
  file.seekg(0, std::ios::end);
  const auto bytes = static_cast<int64_t>(file.tellg());
  const int64_t column = notes * static_cast<int64_t>(sizeof(float));
  if (bytes <= 0 || bytes % column != 0) {
    refuse(path, "must have rows of fp32 numbers for the " + std::to_string(notes) +
                     " notes of the log, but has " + std::to_string(bytes) + " bytes");
  }
  at::Tensor vectors = at::empty({notes, bytes / column});
  file.seekg(0);
  if (!file.read(static_cast<char*>(vectors.data_ptr()), bytes)) refuse(path, kUnreadable);
  return vectors;
}

void run(char** arguments) {
  const notellm::RunOptions options = notellm::read_run_options(arguments[1]);
  const Log log = read_log(arguments[2]);
  const int64_t notes = count_of(log.notes);
  const notellm::Cooccurrence mined =
      notellm::mine_cooccurrence(notellm::group_by_user({.users = log.users,
                                                         .notes = log.notes,
                                                         .times = log.times,
                                                         .events = {},
                                                         .user_count = count_of(log.users),
                                                         .note_count = notes}),
                                 options.mining);

  std::vector<int64_t> sources, targets;
  std::vector<double> scores;
  for (int64_t source = 0; source < notes; ++source) {
    for (decltype(mined.scores)::InnerIterator pair(mined.scores, source); pair; ++pair) {
      sources.push_back(source);
      targets.push_back(pair.col());
      scores.push_back(pair.value());
    }
  }
  const at::Tensor vectors = read_vectors(arguments[3], notes);
  const auto indices = [](std::vector<int64_t>& list) {
    return at::from_blob(list.data(), {std::ssize(list)}, at::kLong);
  };
  const notellm::Ranks ranks = notellm::target_ranks(vectors.index_select(0, indices(sources)),
                                                     vectors, indices(targets), indices(sources));

  std::ofstream output(arguments[4]);
  for (size_t i = 0; i < scores.size(); ++i) {
    char score[40];
    std::snprintf(score, sizeof score, "%.17g", scores[i]);
    output << sources[i] << ' ' << targets[i] << ' ' << score << ' '
           << ranks.greater.data_ptr<int64_t>()[i] << '\n';
  }
  if (!output.flush()) refuse(arguments[4], "must be written, but cannot be");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::cerr << "usage: mine_and_rank CONFIG LOG VECTORS OUTPUT\n";
    return 2;
  }
  try {
    run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "mine_and_rank: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
