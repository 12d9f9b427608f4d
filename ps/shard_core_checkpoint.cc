// What a checkpoint keeps of a shard, and how it comes back.
#include "ps/shard_core.h"

namespace downpour::ps {

void ShardCore::On(Checkpoint event, std::vector<Action>& actions) {
  for (auto& [id, table] : tables_) {
    for (Table::Part& part : table->parts()) {
      part.saving = event;
      SaveIfDue(*table, part, actions);
    }
  }
}

void ShardCore::SaveIfDue(const Table& table, Table::Part& part, std::vector<Action>& actions) const {
  if (!part.saving) return;
  if (InRounds(SettingsOf(part)) && part.clock < part.saving->clock) return;
  actions.push_back(Saved{part.saving->number, table.Save(part)});
  part.saving.reset();
}

void ShardCore::On(Restore event, std::vector<Action>& actions) {
  const auto found = tables_.find(event.state.table);
  bool ok = leases_.NobodyIsLive() && found != tables_.end();
  Table::Part* const part = ok ? found->second->Find(event.state.part) : nullptr;
  // What ended attempts have held was not acknowledged, and is of a state that is no more.
  ok = part != nullptr && found->second->Load(event.state);
  if (ok) {
    stats_.held -= part->held_pushes;
    part->held_pushes = 0;
    part->held.clear();
    // Whoever was here before was at another state: all have still to come.
    leases_.Restart();
    WarmUp(*part);
    for (auto& [id, table] : tables_) {
      for (Table::Part& each : table->parts()) {
        for (uint32_t i = 0; i < leases_.partitions(); ++i) Enter(each, i);
      }
    }
    AnswerParked(*found->second, *part, actions);
  }
  actions.push_back(Restored{event.ticket, ok});
}

}  // namespace downpour::ps
