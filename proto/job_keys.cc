#include "proto/job_keys.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace downpour {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Levenshtein's distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

bool Near(absl::string_view a, absl::string_view b, size_t distance) {
  return distance <= std::max<size_t>(1, std::max(a.size(), b.size()) / 3);
}

// Whether `name` is the first letters of `key`'s words, as lr is of learning_rate.
bool AreInitials(absl::string_view name, absl::string_view key) {
  std::string initials;
  for (const absl::string_view word : absl::StrSplit(key, '_', absl::SkipEmpty())) initials += word[0];
  return initials.size() > 1 && name == initials;
}

// Whether `name` says no more than `key` with a word before or after, as batch_size does of batch.
bool HasWords(absl::string_view name, absl::string_view key) {
  return absl::StartsWith(name, absl::StrCat(key, "_")) || absl::EndsWith(name, absl::StrCat("_", key));
}

// The path of a key named exactly `name` under `message`.
std::string PathOf(absl::string_view name, const Descriptor* message, const std::string& prefix) {
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* field = message->field(i);
    const std::string path = absl::StrCat(prefix, prefix.empty() ? "" : ".", field->name());
    if (field->name() == name) return path;
    if (field->message_type() != nullptr) {
      if (std::string found = PathOf(name, field->message_type(), path); !found.empty()) return found;
    }
  }
  return "";
}

}  // namespace

const Key& KeyOf(const FieldDescriptor* field) { return field->options().GetExtension(key); }

const FieldDescriptor* SelectorOf(const Descriptor* message) {
  for (int i = 0; i < message->field_count(); ++i) {
    if (KeyOf(message->field(i)).selector()) return message->field(i);
  }
  return nullptr;
}

absl::string_view DefaultOf(const Key& key, absl::string_view selected) {
  for (absl::string_view text : key.default_for()) {
    if (absl::ConsumePrefix(&text, selected) && absl::ConsumePrefix(&text, "=")) return text;
  }
  return key.default_value();
}

bool Counts(const Key& key, absl::string_view selected) {
  return key.only_for().empty() ||
         std::find(key.only_for().begin(), key.only_for().end(), selected) != key.only_for().end();
}

std::string NearestKey(absl::string_view name, const Descriptor* message, absl::string_view prefix) {
  const FieldDescriptor* nearest = nullptr;
  size_t least = name.size() + 1;
  for (int i = 0; i < message->field_count(); ++i) {
    const std::string& key = message->field(i)->name();
    const size_t distance = AreInitials(name, key) || HasWords(name, key) ? 0 : EditDistance(name, key);
    if (distance < least) {
      least = distance;
      nearest = message->field(i);
    }
  }
  if (nearest != nullptr && Near(name, nearest->name(), least)) {
    return absl::StrCat(prefix, prefix.empty() ? "" : ".", nearest->name());
  }
  return PathOf(name, Job::descriptor(), "");
}

std::string NearestChoice(absl::string_view value, const Key& key) {
  std::string nearest;
  size_t least = value.size() + 1;
  for (const std::string& choice : key.choices()) {
    if (const size_t distance = EditDistance(value, choice); distance < least) {
      least = distance;
      nearest = choice;
    }
  }
  return Near(value, nearest, least) ? nearest : "";
}

}  // namespace downpour
