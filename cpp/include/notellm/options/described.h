#pragma once

#include <array>
#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "notellm/options/check.h"
#include "notellm/options/option.h"
#include "notellm/util/check.h"

/// Structs whose members are options. Such a struct has
///
///   static constexpr const char* kMeaning = "...";         // of the group, one sentence
///   template <typename Visit> static void describe(Visit&& option) {
///     option("top", &MiningOptions::top, "Partners kept for each note; 0 = all.", at_least(0));
///   }
///   std::string mismatch() const;   // why values do not fit together; empty if they do
///
/// `describe` has one line for each option; its default stands at the member. An enum can be an
/// option if `names_of(Enum)` names its values. Members that are not described are arguments of the
/// call, not options.
namespace notellm {
namespace internal {

template <typename T>
OptionValue to_option_value(const T& member) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [name, value] : names_of(T())) {
      if (value == member) return std::string(name);
    }
    return std::string();
  } else {
    return member;
  }
}

template <typename T>
void from_option_value(const OptionValue& value, T& member) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [name, known] : names_of(T())) {
      if (name == std::get<std::string>(value)) member = known;
    }
  } else {
    member = std::get<T>(value);
  }
}

template <typename T>
OptionFacts with_choices(OptionFacts facts) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& entry : names_of(T())) facts.choices.emplace_back(entry.first);
  }
  return facts;
}

}  // namespace internal

/// The description of a struct, as data.
template <typename Struct>
OptionGroup described(std::string name) {
  OptionGroup group{std::move(name), Struct::kMeaning, {}};
  const Struct standard;
  Struct::describe([&](const char* key, auto member, const char* meaning, OptionFacts facts) {
    using Member = std::remove_cvref_t<decltype(standard.*member)>;
    group.options.push_back({key, internal::to_option_value(standard.*member), meaning,
                             internal::with_choices<Member>(std::move(facts))});
  });
  return group;
}

/// The values of a struct's options.
template <typename Struct>
OptionValues values_of(const Struct& group) {
  OptionValues values;
  Struct::describe([&](const char* key, auto member, auto&&...) {
    values[key] = internal::to_option_value(group.*member);
  });
  return values;
}

/// A struct with these values, one for each of its options, already checked (see check.h).
///
/// @throws ConfigError `where: ...` if they do not fit together.
template <typename Struct>
Struct made_of(const OptionValues& values, const std::string& where) {
  Struct group;
  Struct::describe([&](const char* key, auto member, auto&&...) {
    internal::from_option_value(values.at(key), group.*member);
  });
  const std::string mismatch = group.mismatch();
  if (!mismatch.empty()) internal::throw_error<ConfigError>(where, mismatch);
  return group;
}

/// Checks a struct that was filled by hand against its own description.
///
/// @param where  The function's name, for messages.
/// @throws ConfigError (a std::invalid_argument) `where: what must hold, but is X`.
template <typename Struct>
void validate(const Struct& group, const std::string& where) {
  check(tree_of(values_of(group)), {described<Struct>("")}, {.name = where});
  const std::string mismatch = group.mismatch();
  if (!mismatch.empty()) internal::throw_error<ConfigError>(where, mismatch);
}

}  // namespace notellm
