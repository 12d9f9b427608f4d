#include "proto/job_config.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include <google/protobuf/util/message_differencer.h>
#include <yaml-cpp/yaml.h>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/address.h"
#include "proto/codec/wire_codecs.h"
#include "proto/job_keys.h"
#include "proto/job_overrides.h"
#include "proto/limits.h"
#include "proto/sync/mode.h"
#include "proto/transforms.h"

namespace downpour {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxJobFileBytes = 4 << 20;

std::string Join(absl::string_view prefix, absl::string_view name) {
  return absl::StrCat(prefix, prefix.empty() ? "" : ".", name);
}

// Collects mistakes, so that a user sees all of them at once.
class Mistakes {
 public:
  // `overrides` must outlive it.
  Mistakes(absl::string_view file, const Overrides& overrides) : file_(file), overrides_(overrides) {}

  // `line` from 0; negative where there is none to name.
  void Add(int line, absl::string_view path, absl::string_view what) {
    if (const std::string* source = overrides_.SourceOf(path)) {
      lines_.push_back(absl::StrCat("--set ", *source, ": ", path == *source ? "" : absl::StrCat(path, ": "), what));
      return;
    }
    lines_.push_back(absl::StrCat(file_, ":", line >= 0 ? absl::StrCat(line + 1, ":") : "", " ", path,
                                  path.empty() ? "" : ": ", what));
  }

  absl::Status ToStatus() const {
    return lines_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }

 private:
  std::string file_;
  const Overrides& overrides_;
  std::vector<std::string> lines_;
};

std::string TypeName(const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64: return "a whole number, not negative";
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: return "a number";
    case FieldDescriptor::CPPTYPE_BOOL: return "true or false";
    case FieldDescriptor::CPPTYPE_STRING: return "text";
    default: return "a section of keys";
  }
}

// "between 1 and 5", "at least 1", "at most 5".
std::string BoundsText(const Key& key) {
  if (key.has_min() && key.has_max()) return absl::StrFormat("between %.15g and %.15g", key.min(), key.max());
  return key.has_min() ? absl::StrFormat("at least %.15g", key.min()) : absl::StrFormat("at most %.15g", key.max());
}

// Sets a scalar field, or adds to a repeated one, from its text. A sentence when the text does not fit.
std::string SetScalar(const std::string& text, const FieldDescriptor* field, Message* message) {
  const Key& key = KeyOf(field);
  const google::protobuf::Reflection* reflection = message->GetReflection();
  const auto out_of_bounds = [&key](double value) {
    return (key.has_min() && value < key.min()) || (key.has_max() && value > key.max());
  };
  const auto set = [&]<typename T>(void (google::protobuf::Reflection::*one)(Message*, const FieldDescriptor*, T) const,
                                   void (google::protobuf::Reflection::*add)(Message*, const FieldDescriptor*, T) const,
                                   T value) {
    (reflection->*(field->is_repeated() ? add : one))(message, field, std::move(value));
  };
  const std::string misfit = absl::StrCat("'", text, "' is not ", TypeName(field));
  using R = google::protobuf::Reflection;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!absl::SimpleAtoi(text, &value)) return misfit;
      if (out_of_bounds(static_cast<double>(value))) return absl::StrCat(text, " is not ", BoundsText(key));
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
        set(&R::SetUInt64, &R::AddUInt64, value);
      } else {
        if (value > UINT32_MAX) return absl::StrCat(text, " is too large");
        set(&R::SetUInt32, &R::AddUInt32, static_cast<uint32_t>(value));
      }
      return "";
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      float value = 0;
      if (!absl::SimpleAtof(text, &value) || !std::isfinite(value)) return misfit;
      if (value == 0 && text.substr(0, text.find_first_of("eE")).find_first_of("123456789") != std::string::npos) {
        return absl::StrCat(text, " is so small that it would count as 0");
      }
      if (out_of_bounds(value)) return absl::StrCat(text, " is not ", BoundsText(key));
      set(&R::SetFloat, &R::AddFloat, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") return misfit;
      set(&R::SetBool, &R::AddBool, text == "true");
      return "";
    case FieldDescriptor::CPPTYPE_STRING: {
      if (!key.choices().empty() &&
          std::find(key.choices().begin(), key.choices().end(), text) == key.choices().end()) {
        const std::string nearest = NearestChoice(text, key);
        return absl::StrCat("'", text, "' is none of ", absl::StrJoin(key.choices(), ", "),
                            nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"));
      }
      set(&R::SetString, &R::AddString, text);
      return "";
    }
    default: return absl::StrCat("has a type that a job can't hold: ", field->cpp_type_name());
  }
}

class Parser {
 public:
  explicit Parser(Mistakes* mistakes) : mistakes_(*mistakes) {}

  // Fills `message` from a mapping, then with defaults.
  void ParseMessage(const YAML::Node& node, const std::string& path, int line, Message* message) {
    std::set<std::string> given;
    if (node.IsDefined() && !node.IsNull()) {
      if (!node.IsMap()) {
        mistakes_.Add(line, path, "should be a section of keys");
        return;
      }
      for (const auto& entry : node) ParseEntry(entry, path, &given, message);
    }
    Complete(given, node, path, line, message);
  }

 private:
  void ParseEntry(const YAML::detail::iterator_value& entry, const std::string& path, std::set<std::string>* given,
                  Message* message) {
    const int line = entry.first.Mark().line;
    if (!entry.first.IsScalar()) {
      mistakes_.Add(line, path, "a key should be a word");
      return;
    }
    const std::string& name = entry.first.Scalar();
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      const std::string nearest = NearestKey(name, message->GetDescriptor(), path);
      mistakes_.Add(line, Join(path, name),
                    absl::StrCat("unknown key", nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
      return;
    }
    if (!given->insert(name).second) {
      mistakes_.Add(line, Join(path, name), "given twice");
      return;
    }
    ParseField(entry.second, Join(path, name), line, field, message);
  }

  void ParseField(const YAML::Node& node, const std::string& path, int line, const FieldDescriptor* field,
                  Message* message) {
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!field->is_repeated()) {
      if (is_message) {
        ParseMessage(node, path, line, message->GetReflection()->MutableMessage(message, field));
      } else {
        ParseScalar(node, path, line, field, message);
      }
      return;
    }
    const bool number = !is_message && field->cpp_type() != FieldDescriptor::CPPTYPE_STRING;
    if (number && node.IsScalar()) {
      ParseScalar(node, path, line, field, message);
      return;
    }
    if (!node.IsSequence()) {
      mistakes_.Add(line, path, "should be a list");
      return;
    }
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string item = absl::StrCat(path, "[", i, "]");
      const int item_line = node[i].Mark().line;
      if (is_message) {
        ParseMessage(node[i], item, item_line, message->GetReflection()->AddMessage(message, field));
      } else {
        ParseScalar(node[i], item, item_line, field, message);
      }
    }
    if (node.size() < KeyOf(field).list_min()) {
      mistakes_.Add(line, path, absl::StrCat("needs at least ", KeyOf(field).list_min()));
    }
  }

  void ParseScalar(const YAML::Node& node, const std::string& path, int line, const FieldDescriptor* field,
                   Message* message) {
    if (!node.IsScalar()) {
      mistakes_.Add(line, path, absl::StrCat("should be ", TypeName(field)));
      return;
    }
    if (const std::string wrong = SetScalar(node.Scalar(), field, message); !wrong.empty()) {
      mistakes_.Add(line, path, wrong);
    }
  }

  // Gives the keys that were not given their defaults, and refuses those given that don't count here.
  void Complete(const std::set<std::string>& given, const YAML::Node& node, const std::string& path, int line,
                Message* message) {
    const google::protobuf::Descriptor* descriptor = message->GetDescriptor();
    const FieldDescriptor* selector = SelectorOf(descriptor);
    std::string selected;
    if (selector != nullptr) {
      selected = given.count(selector->name()) ? message->GetReflection()->GetString(*message, selector)
                                               : KeyOf(selector).default_value();
      // Without it, or with a wrong one, nothing can be said of its siblings; the mistake itself is reported.
      if (selected.empty()) {
        if (!given.count(selector->name())) mistakes_.Add(line, Join(path, selector->name()), "is missing");
        return;
      }
    }
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      const Key& key = KeyOf(field);
      const std::string field_path = Join(path, field->name());
      const bool counts = Counts(key, selected);
      if (given.count(field->name())) {
        if (!counts) {
          mistakes_.Add(node[field->name()].Mark().line, field_path,
                        absl::StrCat("belongs to ", selector->name(), " ", absl::StrJoin(key.only_for(), ", "),
                                     ", not to ", selected));
        }
      } else if (counts) {
        SetDefault(key, selected, field, field_path, line, message);
      }
    }
  }

  void SetDefault(const Key& key, const std::string& selected, const FieldDescriptor* field, const std::string& path,
                  int line, Message* message) {
    const absl::string_view value = DefaultOf(key, selected);
    if (key.required()) {
      mistakes_.Add(line, path, "is missing");
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!field->is_repeated()) {
        ParseMessage(YAML::Node(YAML::NodeType::Undefined), path, line,
                     message->GetReflection()->MutableMessage(message, field));
      }
    } else if (field->is_repeated()) {
      for (const auto& item : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
        SetScalar(std::string(absl::StripAsciiWhitespace(item)), field, message);
      }
    } else if (!value.empty()) {
      SetScalar(std::string(value), field, message);
    }
  }

  Mistakes& mistakes_;
};

// Of a job or a layer: it stands in file names, metrics and messages.
bool IsName(absl::string_view name) {
  if (name.empty() || name.size() > 64 || name[0] == '.') return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

void CheckSyncAcrossKeys(const Sync& sync, uint32_t workers, float learning_rate, Mistakes* mistakes) {
  if (sync.backup_workers() > 0 && sync.backup_workers() >= workers) {
    mistakes->Add(-1, "sync.backup_workers",
                  absl::StrCat(sync.backup_workers(), " should be less than workers, ", workers));
  }
  if (sync.rho() * learning_rate >= 1) {
    mistakes->Add(-1, "sync.rho", absl::StrFormat("times optimizer.learning_rate is %g; it should be less than 1",
                                                  sync.rho() * learning_rate));
  }
}

// Bounds that are not inclusive. A key that doesn't count for the rule is not set.
void CheckOptimizer(const Optimizer& optimizer, Mistakes* mistakes) {
  const auto below_one = [mistakes](absl::string_view name, bool given, float value) {
    if (given && value >= 1) mistakes->Add(-1, Join("optimizer", name), "should be less than 1");
  };
  const auto above_zero = [mistakes](absl::string_view name, bool given, float value) {
    if (given && value <= 0) mistakes->Add(-1, Join("optimizer", name), "should be more than 0");
  };
  below_one("beta1", optimizer.has_beta1(), optimizer.beta1());
  below_one("beta2", optimizer.has_beta2(), optimizer.beta2());
  below_one("alpha", optimizer.has_alpha(), optimizer.alpha());
  below_one("rho", optimizer.has_rho(), optimizer.rho());
  above_zero("epsilon", optimizer.has_epsilon(), optimizer.epsilon());
  above_zero("beta", optimizer.has_beta(), optimizer.beta());
}

void CheckSchedule(const Schedule& schedule, Mistakes* mistakes) {
  const bool multiplies =
      schedule.policy() == "step" || schedule.policy() == "multistep" || schedule.policy() == "exp";
  if (multiplies && (schedule.gamma() < 0 || schedule.gamma() > 1)) {
    mistakes->Add(-1, "schedule.gamma",
                  absl::StrFormat("%g is not between 0 and 1, as %s needs it", schedule.gamma(), schedule.policy()));
  }
  if (schedule.policy() == "inv" && schedule.gamma() < 0) {
    mistakes->Add(-1, "schedule.gamma", absl::StrFormat("%g is not at least 0, as inv needs it", schedule.gamma()));
  }
  const auto& values = schedule.step_values();
  if (std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) != values.end()) {
    mistakes->Add(-1, "schedule.step_values", "each should be more than the one before");
  }
}

void CheckAdapt(const Job& job, const SyncMode& mode, Mistakes* mistakes) {
  const auto add = [&](absl::string_view why) { mistakes->Add(-1, "wire.adapt", why); };
  if (mode.content != PushContent::kGradient) {
    add(absl::StrCat("sync.mode ", mode.name, " waits for each exchange, whatever the wire is like"));
  } else if (mode.coupling(job.sync()) != Coupling::kNone) {
    add(absl::StrCat("in sync.mode ", mode.name,
                     " workers wait for one another, so that waiting says nothing of the wire"));
  } else if (job.sync().wait()) {
    add("with sync.wait each exchange is waited for, so that waiting says nothing of the wire");
  }
  const std::string& codec = job.wire().push().codec();
  if (codec == "threshold" || codec == "random_k" || codec == "power_sgd" || codec == "sparse") {
    add(absl::StrCat("nobody knows what would send less than ", codec,
                     " does here; raw, bf16, fp16, int8, one_bit or top_k"));
  } else if (const auto codecs = WireCodecsOf(job); codecs.ok() && codecs->levels.size() == 1) {
    add("adapt_min_share and adapt_max_n leave nothing to adapt");
  }
}

void CheckCombine(const Job& job, const SyncMode& mode, Mistakes* mistakes) {
  const auto add = [&](absl::string_view why) { mistakes->Add(-1, "wire.combine", why); };
  if (mode.content != PushContent::kGradient) {
    add(absl::StrCat("host is for gradients; sync.mode ", mode.name, " exchanges something else"));
  } else if (mode.peers) {
    add(absl::StrCat("with sync.mode ", mode.name, " each worker is a server, and none pushes for another. Set it to none"));
  }
  if (job.sync().delay_compensation() > 0) {
    add("sync.delay_compensation goes by what the one worker has read whose gradient it is. Set it to none");
  }
  if (job.wire().adapt()) add("with wire.adapt each worker has its own way of pushing. Set one of them otherwise");
  if (job.wire().push().max_bandwidth_mbps() > 0) {
    add("wire.push.max_bandwidth_mbps is for what each worker pushes by itself. Set one of them otherwise");
  }
}

void CheckWireAcrossKeys(const Job& job, const SyncMode& mode, Mistakes* mistakes) {
  const bool averages = mode.content == PushContent::kParameters;
  if (const auto codec = FindCodec(job.wire().push().codec()); codec.ok() && averages && !(*codec)->for_parameters) {
    mistakes->Add(-1, "wire.push.codec", absl::StrCat((*codec)->name, " is for what is added to parameters; sync.mode ",
                                                      mode.name, " averages parameters: raw, bf16 or fp16"));
  }
  if (job.wire().push().max_bandwidth_mbps() > 0 && averages) {
    mistakes->Add(-1, "wire.push.max_bandwidth_mbps",
                  absl::StrCat("is for what is added to parameters; sync.mode ", mode.name, " averages them"));
  }
  if (job.wire().push().has_feedback() && !job.wire().push().feedback() &&
      (job.wire().adapt() || job.wire().push().max_bandwidth_mbps() > 0)) {
    mistakes->Add(-1, "wire.push.feedback", "what adapt or max_bandwidth_mbps leaves out has to be carried: true");
  }
  const auto pull = FindCodec(job.wire().pull().codec());
  const bool differences = pull.ok() && !(*pull)->for_parameters;
  if (job.sync().state() == "averaged" && pull.ok() && (differences || (*pull)->id == CodecId::kFp16)) {
    mistakes->Add(-1, "wire.pull.codec", absl::StrCat((*pull)->name, " does not keep the optimizer's own vectors near ",
                                                      "what they are, which sync.state averaged sends too: raw or bf16"));
  }
  if (job.sync().state() == "averaged" && job.wire().push().codec() == "fp16") {
    mistakes->Add(-1, "wire.push.codec", "fp16 has no room for the optimizer's own vectors, which sync.state averaged "
                                         "sends too: raw or bf16");
  }
  if (differences && job.sync().delay_compensation() > 0) {
    mistakes->Add(-1, "sync.delay_compensation",
                  absl::StrCat("goes by what a worker has read; with wire.pull.codec ", (*pull)->name,
                               " that is not what the servers keep of it: raw, bf16 or fp16"));
  }
  if (job.wire().adapt()) CheckAdapt(job, mode, mistakes);
  if (job.wire().combine() == "host") CheckCombine(job, mode, mistakes);
}

// What no single key can know.
void CheckAcrossKeys(const Job& job, Mistakes* mistakes) {
  const auto check_name = [mistakes](const std::string& path, const std::string& name) {
    if (name.empty() || IsName(name)) return;  // a missing one is reported where it is missing
    mistakes->Add(-1, path, absl::StrCat("'", absl::CHexEscape(name.substr(0, 100)), "' should be letters, digits, ",
                                         "'.', '_' and '-', at most 64, not beginning with '.'"));
  };
  check_name("name", job.name());
  for (int i = 0; i < job.net_size(); ++i) check_name(absl::StrCat("net[", i, "].name"), job.net(i).name());
  if (job.net_size() > kMaxLayers) {
    mistakes->Add(-1, "net", absl::StrCat("has ", job.net_size(), " layers; the limit is ", kMaxLayers));
  }
  const auto note = [mistakes](absl::string_view path, const absl::Status& status) {
    if (!status.ok()) mistakes->Add(-1, path, status.message());
  };
  for (const std::string& address : job.servers().addresses()) note("servers.addresses", CheckListenAddress(address));
  for (const std::string& address : job.servers().metrics_addresses()) {
    note("servers.metrics_addresses", CheckMetricsAddress(address));
  }
  if (job.servers().metrics_addresses_size() > job.servers().addresses_size()) {
    mistakes->Add(-1, "servers.metrics_addresses", "has more entries than servers.addresses");
  }
  if (job.worker().lease_ms() > 0 && job.worker().heartbeat_ms() >= job.worker().lease_ms()) {
    mistakes->Add(-1, "worker.heartbeat_ms", absl::StrCat(job.worker().heartbeat_ms(), " should be less than ",
                                                          "worker.lease_ms, ", job.worker().lease_ms()));
  }
  CheckSyncAcrossKeys(job.sync(), job.workers(), job.optimizer().learning_rate(), mistakes);
  const auto mode = FindSyncMode(job.sync().mode());
  if (mode.ok()) CheckWireAcrossKeys(job, **mode, mistakes);
  const bool peers = mode.ok() && (*mode)->peers;
  if (peers && job.servers().addresses_size() != static_cast<int>(job.workers())) {
    mistakes->Add(-1, "servers.addresses",
                  absl::StrCat("has ", job.servers().addresses_size(), " entries; with sync.mode ", job.sync().mode(),
                               " each of the ", job.workers(), " workers holds shards and needs one, or leave it out"));
  }
  double values = 1;
  for (const uint32_t dimension : job.data().shape()) values *= dimension;
  if (values > 1 << 28) mistakes->Add(-1, "data.shape", "is more than 2^28 values a sample");
  CheckTransforms(job.data(), [&](absl::string_view key, absl::string_view what) { mistakes->Add(-1, key, what); });
  CheckOptimizer(job.optimizer(), mistakes);
  CheckSchedule(job.schedule(), mistakes);
}

void EmitMessage(const Message& message, YAML::Emitter* out);

void EmitValue(const Message& message, const FieldDescriptor* field, int index, YAML::Emitter* out) {
  const google::protobuf::Reflection* r = message.GetReflection();
  const bool repeated = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      *out << (repeated ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      *out << (repeated ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const float value = repeated ? r->GetRepeatedFloat(message, field, index) : r->GetFloat(message, field);
      std::string text = absl::StrFormat("%.6g", value);
      if (float back = 0; !absl::SimpleAtof(text, &back) || back != value) text = absl::StrFormat("%.9g", value);
      *out << text;
      break;
    }
    case FieldDescriptor::CPPTYPE_BOOL: *out << (r->GetBool(message, field) ? "true" : "false"); break;
    case FieldDescriptor::CPPTYPE_STRING:
      *out << YAML::DoubleQuoted
           << (repeated ? r->GetRepeatedString(message, field, index) : r->GetString(message, field));
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      EmitMessage(repeated ? r->GetRepeatedMessage(message, field, index) : r->GetMessage(message, field), out);
      break;
    default: break;
  }
}

void EmitMessage(const Message& message, YAML::Emitter* out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  const bool flow = message.GetDescriptor() == Layer::descriptor();
  *out << (flow ? YAML::Flow : YAML::Block) << YAML::BeginMap;
  for (const FieldDescriptor* field : fields) {
    *out << YAML::Key << field->name() << YAML::Value;
    if (field->is_repeated()) {
      const bool block = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
      *out << (block ? YAML::Block : YAML::Flow) << YAML::BeginSeq;
      for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) EmitValue(message, field, i, out);
      *out << YAML::EndSeq;
    } else {
      EmitValue(message, field, 0, out);
    }
  }
  *out << YAML::EndMap;
}

// Where the shards live in the workers, each has an address; the default is for one.
void GivePeersAddresses(Job* job) {
  const auto mode = FindSyncMode(job->sync().mode());
  if (!mode.ok() || !(*mode)->peers || job->servers().addresses_size() != 1) return;
  const std::string address = job->servers().addresses(0);
  while (job->servers().addresses_size() < static_cast<int>(job->workers())) {
    job->mutable_servers()->add_addresses(address);
  }
}

// The keys in which a worker and its server must agree.
Job Agreed(const Job& job) {
  Job agreed;
  agreed.set_name(job.name());
  agreed.set_seed(job.seed());
  agreed.set_workers(job.workers());
  *agreed.mutable_sync() = job.sync();
  *agreed.mutable_optimizer() = job.optimizer();
  *agreed.mutable_schedule() = job.schedule();
  agreed.mutable_training()->set_batch(job.training().batch());
  agreed.mutable_training()->set_clip_norm(job.training().clip_norm());
  *agreed.mutable_data()->mutable_shape() = job.data().shape();
  agreed.mutable_data()->set_scale(job.data().scale());
  *agreed.mutable_data()->mutable_transforms() = job.data().transforms();
  agreed.mutable_data()->mutable_transforms()->clear_threads();
  *agreed.mutable_net() = job.net();
  return agreed;
}

// Makes each path that is relative one from its folder: `beside` for what was set beside the file, `folder` for the rest.
void ResolvePaths(const std::filesystem::path& folder, const std::filesystem::path& beside, const Overrides& overrides,
                  const std::string& prefix, google::protobuf::Message* message) {
  const google::protobuf::Reflection* const reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* const field = message->GetDescriptor()->field(i);
    if (field->is_repeated() || !reflection->HasField(*message, field)) continue;
    const std::string key = Join(prefix, field->name());
    if (field->message_type() != nullptr) {
      ResolvePaths(folder, beside, overrides, key, reflection->MutableMessage(message, field));
    } else if (KeyOf(field).path()) {
      const std::filesystem::path path = reflection->GetString(*message, field);
      if (path.empty() || path.is_absolute()) continue;
      const std::filesystem::path& from = overrides.SourceOf(key) == nullptr ? folder : beside;
      reflection->SetString(message, field, (from / path).lexically_normal());
    }
  }
}

// A section without the keys that belong to another choice than its selector's and were not themselves set beside.
YAML::Node WithoutStrays(const YAML::Node& section, const std::string& path, const google::protobuf::Descriptor* message,
                         const Overrides& overrides) {
  const FieldDescriptor* const selector = SelectorOf(message);
  if (selector == nullptr || !section.IsMap() || overrides.SourceOf(Join(path, selector->name())) == nullptr) return section;
  const YAML::Node chosen = section[selector->name()];
  const std::string selected = chosen.IsDefined() && chosen.IsScalar() ? chosen.Scalar() : "";
  const auto& choices = KeyOf(selector).choices();
  if (std::find(choices.begin(), choices.end(), selected) == choices.end()) return section;
  YAML::Node kept(YAML::NodeType::Map);
  for (const auto& entry : section) {
    const FieldDescriptor* const field = message->FindFieldByName(entry.first.Scalar());
    const bool counts = field == nullptr || Counts(KeyOf(field), selected);
    if (counts || overrides.SourceOf(Join(path, entry.first.Scalar())) != nullptr) {
      kept.force_insert(entry.first, entry.second);
    }
  }
  return kept;
}

// The tree with what was set beside it. Where that makes another choice, what belonged to the choice before is dropped.
YAML::Node WithOverrides(const YAML::Node& root, Overrides* overrides) {
  const YAML::Node given = overrides->ApplyTo(root);
  if (!given.IsMap()) return given;
  YAML::Node kept(YAML::NodeType::Map);
  for (const auto& entry : given) {
    const FieldDescriptor* const field =
        entry.first.IsScalar() ? Job::descriptor()->FindFieldByName(entry.first.Scalar()) : nullptr;
    const bool section = field != nullptr && !field->is_repeated() && field->message_type() != nullptr;
    kept.force_insert(entry.first, section ? WithoutStrays(entry.second, field->name(), field->message_type(), *overrides)
                                           : entry.second);
  }
  return kept;
}

absl::StatusOr<Job> ParseRoot(const YAML::Node& root, Mistakes* mistakes) {
  Job job;
  Parser(mistakes).ParseMessage(root, "", 0, &job);
  const bool addresses_given = root.IsMap() && root["servers"].IsDefined() && root["servers"].IsMap() &&
                               root["servers"]["addresses"].IsDefined();
  if (!addresses_given) GivePeersAddresses(&job);
  CheckAcrossKeys(job, mistakes);
  if (absl::Status status = mistakes->ToStatus(); !status.ok()) return status;
  return job;
}

absl::StatusOr<Job> ParseTree(absl::string_view yaml, absl::string_view file, Overrides* overrides) {
  Mistakes mistakes(file, *overrides);
  if (yaml.size() > kMaxJobFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(file), ": a job file of ", yaml.size(),
                                                   " bytes; the limit is ", kMaxJobFileBytes));
  }
  YAML::Node root;
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() > 1) {
      mistakes.Add(documents[1].Mark().line, "", "a second document; a job is one");
      return mistakes.ToStatus();
    }
    if (!documents.empty()) root = documents[0];
  } catch (const YAML::Exception& error) {
    mistakes.Add(error.mark.line, "", absl::StrCat("not YAML: ", error.msg));
    return mistakes.ToStatus();
  }
  if (root.IsMap() || root.IsNull()) root.reset(WithOverrides(root, overrides));
  return ParseRoot(root, &mistakes);
}

}  // namespace

absl::StatusOr<Job> ParseJob(absl::string_view yaml, absl::string_view file, const std::vector<std::string>& set) {
  absl::StatusOr<Overrides> overrides = Overrides::Parse(set);
  if (!overrides.ok()) return overrides.status();
  return ParseTree(yaml, file, &*overrides);
}

absl::StatusOr<Job> WithKeys(const Job& job, const std::vector<std::string>& set) {
  absl::StatusOr<Overrides> overrides = Overrides::Parse(set);
  if (!overrides.ok()) return overrides.status();
  const YAML::Node root = WithOverrides(YAML::Load(JobToYaml(job)), &*overrides);
  Mistakes mistakes("the running job", *overrides);
  return ParseRoot(root, &mistakes);
}

absl::StatusOr<Job> LoadJob(const std::string& path, const std::vector<std::string>& set) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("no job file at ", path));
  }
  if (const auto size = std::filesystem::file_size(path, error); !error && size > kMaxJobFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a job file of ", size, " bytes; the limit is ", kMaxJobFileBytes));
  }
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return absl::NotFoundError(absl::StrCat("can't read the job file ", path));
  absl::StatusOr<Overrides> overrides = Overrides::Parse(set);
  if (!overrides.ok()) return overrides.status();
  absl::StatusOr<Job> job = ParseTree(text.str(), path, &*overrides);
  if (!job.ok()) return job;
  const std::filesystem::path current = std::filesystem::current_path(error);
  const std::filesystem::path folder = std::filesystem::absolute(path, error).parent_path();
  if (error) return absl::NotFoundError(absl::StrCat("can't tell the folder of ", path, ": ", error.message()));
  ResolvePaths(folder, current, *overrides, "", &*job);
  return job;
}

absl::Status CheckSync(const Sync& sync, uint32_t workers, float learning_rate) {
  const Overrides none;
  Mistakes mistakes("sync", none);
  YAML::Emitter out;
  EmitMessage(sync, &out);
  Sync parsed;
  try {
    Parser(&mistakes).ParseMessage(YAML::Load(out.c_str()), "sync", -1, &parsed);
  } catch (const YAML::Exception& error) {
    mistakes.Add(-1, "", error.msg);
  }
  CheckSyncAcrossKeys(sync, workers, learning_rate, &mistakes);
  if (absl::Status status = mistakes.ToStatus(); !status.ok()) return status;
  if (!google::protobuf::util::MessageDifferencer::Equals(parsed, sync)) {
    return absl::InvalidArgumentError("sync: every key that counts for the mode has to be there, not only what differs");
  }
  return absl::OkStatus();
}

std::string JobToYaml(const Job& job) {
  YAML::Emitter out;
  EmitMessage(job, &out);
  return absl::StrCat(out.c_str(), "\n");
}

absl::Status CheckAgreement(const Job& server, const Job& worker) {
  // What is so far off needs no key by key report, which would be long.
  if (server.net_size() != worker.net_size()) {
    return absl::FailedPreconditionError(absl::StrCat("job and server disagree (server's value -> worker's): net: ",
                                                      server.net_size(), " layers -> ", worker.net_size(),
                                                      ". Start both from the same job file."));
  }
  std::string report;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&report);
  const bool same = differencer.Compare(Agreed(server), Agreed(worker));
  std::vector<std::string> lines = absl::StrSplit(report, '\n', absl::SkipEmpty());
  if (server.servers().addresses_size() != worker.servers().addresses_size()) {
    lines.push_back(absl::StrCat("servers.addresses: ", server.servers().addresses_size(), " of them -> ",
                                 worker.servers().addresses_size()));
  } else if (same) {
    return absl::OkStatus();
  }
  constexpr size_t kMostLines = 20;
  if (lines.size() > kMostLines) lines.resize(kMostLines);
  return absl::FailedPreconditionError(absl::StrCat(
      "job and server disagree (server's value -> worker's): ", absl::StrJoin(lines, "; "),
      ". Start both from the same job file."));
}

}  // namespace downpour
