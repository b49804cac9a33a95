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
#include <vector>

#include "notellm/mining/cooccurrence.h"
#include "notellm/retrieval/rank.h"
#include "notellm/run/run_options.h"

namespace {

struct Log {
  std::vector<int64_t> users, notes, times;
};

Log read_log(const char* path) {
  std::ifstream file(path);
  Log log;
  for (int64_t user, note, time; file >> user >> note >> time;) {
    log.users.push_back(user);
    log.notes.push_back(note);
    log.times.push_back(time);
  }
  return log;
}

int64_t count_of(const std::vector<int64_t>& indices) {
  return indices.empty() ? 0 : *std::ranges::max_element(indices) + 1;
}

at::Tensor read_vectors(const char* path, int64_t notes) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto numbers = static_cast<int64_t>(file.tellg()) / static_cast<int64_t>(sizeof(float));
  at::Tensor vectors = at::empty({notes, numbers / notes});
  file.seekg(0);
  file.read(static_cast<char*>(vectors.data_ptr()), numbers * static_cast<int64_t>(sizeof(float)));
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
