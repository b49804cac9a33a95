#include "notellm/ops/segments.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "notellm/util/check.h"

namespace notellm {

Segments::Segments(std::vector<int64_t> offsets, std::vector<int64_t> parents)
    : offsets_(std::move(offsets)), parents_(std::move(parents)), starts_(parents_.size(), 0) {
  const internal::Require require("Segments");
  require(!offsets_.empty() && offsets_.size() == parents_.size() + 1,
          "offsets must have one entry more than parents, but have ", offsets_.size(), " and ",
          parents_.size());
  require(offsets_[0] == 0, "offsets must begin with 0, but begin with ", offsets_[0]);
  for (int64_t s = 0; s < count(); ++s) {
    require(offsets_[s + 1] > offsets_[s], "segment ", s, " must have at least one token, but is [",
            offsets_[s], ", ", offsets_[s + 1], ")");
    require(parents_[s] >= -1 && parents_[s] < s, "the parent of segment ", s,
            " must be -1 or an earlier segment, but is ", parents_[s]);
    if (parents_[s] >= 0) starts_[s] = starts_[parents_[s]] + length(parents_[s]);
  }
}

std::vector<int64_t> Segments::chain(int64_t s) const {
  std::vector<int64_t> chain;
  for (; s >= 0; s = parents_[s]) chain.push_back(s);
  std::reverse(chain.begin(), chain.end());
  return chain;
}

Segments Segments::with_root(int64_t length) const {
  if (length == 0) return *this;
  std::vector<int64_t> offsets = offsets_, parents = parents_;
  offsets.push_back(tokens() + length);
  parents.push_back(-1);
  return {std::move(offsets), std::move(parents)};
}

at::Tensor Segments::positions() const {
  at::Tensor positions = at::empty({tokens()}, at::kLong);
  int64_t* out = positions.mutable_data_ptr<int64_t>();
  for (int64_t s = 0; s < count(); ++s) {
    for (int64_t i = 0; i < length(s); ++i) out[offsets_[s] + i] = starts_[s] + i;
  }
  return positions;
}

at::Tensor Segments::mask() const {
  at::Tensor mask = at::zeros({tokens(), tokens()}, at::kBool);
  auto allowed = mask.accessor<bool, 2>();
  for (int64_t s = 0; s < count(); ++s) {
    for (int64_t row = offsets_[s]; row < offsets_[s + 1]; ++row) {
      for (int64_t a = parents_[s]; a >= 0; a = parents_[a]) {
        for (int64_t column = offsets_[a]; column < offsets_[a + 1]; ++column)
          allowed[row][column] = true;
      }
      for (int64_t column = offsets_[s]; column <= row; ++column) allowed[row][column] = true;
    }
  }
  return mask;
}

}  // namespace notellm
