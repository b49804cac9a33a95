#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "notellm/embedding/truncated.h"
#include "notellm/metrics/bleu.h"
#include "notellm/metrics/category.h"
#include "notellm/metrics/ranking.h"
#include "notellm/ops/dropout.h"
#include "notellm/ops/segments.h"
#include "notellm/prompts/batching.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/parallel.h"
#include "tensors.h"

namespace notellm {
namespace {

using Calls = std::vector<std::pair<std::string, std::function<void()>>>;

// Every call is wrong; its message begins with the name that the user knows.
void expect_names(const Calls& calls) {
  for (const auto& [name, call] : calls) {
    std::string message = "no error";
    try {
      call();
    } catch (const std::exception& error) {
      message = error.what();
    }
    EXPECT_TRUE(message.starts_with(name + ": ")) << name << " says: " << message;
  }
}

TEST(Checks, OfMetricsNameWhatWasCalled) {
  const std::vector<int64_t> one{1}, none;
  const std::vector<double> value{1};
  const std::vector<std::string> word{"a"}, words;
  const auto none_is_there = BleuSmoothing::kNone;
  expect_names({
      {"hits_at", [&] { hits_at(one, none, one); }},
      {"gains_at", [&] { gains_at(one, one, std::vector<int64_t>{0}); }},
      {"reciprocal_ranks", [&] { reciprocal_ranks(one, none); }},
      {"category_scores", [&] { category_scores(word, words, word); }},
      {"confusion", [&] { confusion(word, words, word); }},
      {"bleu", [&] { bleu({}, 5, none_is_there); }},
      {"bootstrap_bleu", [&] { bootstrap_bleu({}, 5, none_is_there); }},
      {"bootstrap_bleu", [&] { bootstrap_bleu({}, 4, none_is_there); }},
      {"bootstrap_mean", [&] { bootstrap_mean({}); }},
      {"bootstrap_difference", [&] { bootstrap_difference(value, {}); }},
      {"bootstrap_difference", [&] { bootstrap_difference(value, value, {.samples = 0}); }},
  });
}

TEST(Checks, OfPromptsNameWhatWasCalled) {
  const TokenizedNotes no_notes;
  TokenizedNotes unequal, uncut;
  unequal.contents.push_back({});
  uncut.titles.offsets = {1};
  const std::vector<NotePrompt> beyond{{7, Task::kCategory, 0, {}}};
  expect_names({
      {"lay_out", [&] { lay_out({}, no_notes, beyond, PackMode::kEmbed); }},
      {"pack", [&] { pack({}, no_notes, beyond, PackMode::kEmbed); }},
      {"piece_spans", [&] { piece_spans({}, no_notes, beyond[0]); }},
      {"TokenizedNotes", [&] { validate(unequal); }},
      {"TokenizedNotes.titles", [&] { validate(uncut); }},
      {"prefix_forest", [&] { prefix_forest({}, {.min_shared = 0}); }},
      {"prefix_batches", [&] { prefix_batches({}, {.forest = {.min_shared = 0}}); }},
      {"set_num_threads", [&] { set_num_threads(-1); }},
  });
}

TEST(Checks, OfOperationsNameWhatWasCalled) {
  const at::Tensor x = at::ones({2, 3});
  const Dropout all{.share = 1, .keys = at::zeros({2}, at::kLong)};
  expect_names({
      {"drop", [&] { drop(x, all); }},
      {"truncated", [&] { truncated(x, 4); }},
      {"Segments",
       [&] {
         Segments({0, 0}, {-1});
       }},
  });
}

}  // namespace
}  // namespace notellm
