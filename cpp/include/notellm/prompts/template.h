#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace notellm {

/// What one note is asked to write after its compression token.
enum class Task { kCategory, kHashtags };

/// A prompt is a sequence of pieces: fixed text, slots that take a value of the note, and the
/// compression token [EMB].
enum class PieceKind { kText, kTitle, kTopics, kContent, kEmb, kCategory, kHashtags };

/// The name of a piece in a prompt file: "<title>", "<emb>", ...; "text" for fixed text.
std::string_view piece_name(PieceKind kind);

struct Piece {
  PieceKind kind;
  std::vector<int32_t> ids;  ///< kText: at least one token; kEmb: [EMB] alone; slots: none
};

/// One prompt, for example
///
///     "... of the note." " {'title':" <title> ... "}." " The compression word is:\"" <emb> "\"."
///     " The category is:" <category>
struct PromptTemplate {
  std::vector<Piece> pieces;
};

/// Where the parts of a valid template begin; all are indices into its pieces.
///
///     [0, first_slot)            the same tokens for every note: computed once and shared
///     [first_slot, compression)  the note; the compressed position is its last token, or [EMB] if
///                                `PromptSet::reads_emb`
///     [compression, output)      [EMB] and the output guidance
///     [output, end)              what the model must write, before EOS
struct TemplateParts {
  int64_t first_slot;
  int64_t compression;
  int64_t output;
};

/// Finds the parts of a template of the given task and checks its form: exactly one <emb>, behind a
/// piece of text (so that the compressed position exists even if every value is empty) and at least
/// one input slot; exactly one output slot, that of the task, behind <emb>; no input slot behind
/// <emb>.
/// @throws ConfigError  naming the rule that is broken.
TemplateParts template_parts(std::span<const PieceKind> kinds, Task task);
TemplateParts template_parts(const PromptTemplate& prompt, Task task);

/// The prompts of one configuration, compiled for one tokenizer.
struct PromptSet {
  PromptTemplate category;
  std::vector<PromptTemplate> hashtags;  ///< element j - 1 asks for j hashtags
  std::vector<int32_t> bos;              ///< before every prompt; empty if the tokenizer has none
  std::vector<int32_t> separator;        ///< between two hashtags
  int32_t eos = 0;                       ///< what must follow the output
  bool reads_emb = false;  ///< the compressed position is [EMB], not the token before it
};

/// The template that asks for `task`.
/// @param where  begins the message: what the user called.
/// @throws std::invalid_argument  unless 1 <= count <= number of hashtag templates (ignored by the
///                                category task).
const PromptTemplate& template_of(const PromptSet& prompts,
                                  Task task,
                                  int count,
                                  std::string_view where = "template_of");

/// @throws ConfigError  if a template breaks a rule of `template_parts`, or a piece has the wrong
///                      number of tokens for its kind.
void validate(const PromptSet& prompts);

}  // namespace notellm
