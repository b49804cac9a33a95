#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace notellm {

/// Scores of generated categories, note by note, so that their means can be bootstrapped.
struct CategoryScores {
  std::vector<double> correct;  ///< (n) 1 where the text is exactly the note's category; mean: Acc.
  std::vector<double> illusory;  ///< (n) 1 where the text is no known category; mean: Ill.
};

/// Compares texts byte by byte.
///
/// @param generated  (n) what the model wrote.
/// @param truth      (n) the notes' own categories.
/// @param known      the closed set of categories, in any order.
/// @throws std::invalid_argument  if `generated` and `truth` differ in length.
CategoryScores category_scores(std::span<const std::string> generated,
                               std::span<const std::string> truth,
                               std::span<const std::string> known);

/// The table of true (rows) against generated categories (columns): (C, C + 1) counts, row-major;
/// the last column counts texts that are no known category.
///
/// @param known  C distinct categories, of which every `truth` is one.
/// @throws std::invalid_argument  if `generated` and `truth` differ in length, or a true category
///                                is not known.
std::vector<int64_t> confusion(std::span<const std::string> generated,
                               std::span<const std::string> truth,
                               std::span<const std::string> known);

}  // namespace notellm
