#include "proto/settings_changes.h"

#include <google/protobuf/util/message_differencer.h>

namespace downpour {

std::optional<size_t> MergeChanges(const google::protobuf::RepeatedPtrField<SettingsChange>& of_server,
                                   std::vector<SettingsChange>* known) {
  using google::protobuf::util::MessageDifferencer;
  for (int i = 0; i < of_server.size(); ++i) {
    if (static_cast<size_t>(i) == known->size()) {
      known->push_back(of_server[i]);
    } else if (!MessageDifferencer::Equals((*known)[i], of_server[i])) {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace downpour
