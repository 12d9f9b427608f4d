#include "proto/job_config.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "proto/job_keys.h"

namespace downpour {
namespace {

using Catch::Matchers::Contains;

constexpr char kSmallest[] = R"(name: small
net:
  - {name: ip, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
)";

std::string Mistake(const std::string& yaml) {
  const absl::StatusOr<Job> job = ParseJob(yaml, "job.yaml");
  REQUIRE_FALSE(job.ok());
  return std::string(job.status().message());
}

TEST_CASE("keys that are not given have their defaults") {
  const absl::StatusOr<Job> job = ParseJob(kSmallest, "job.yaml");
  REQUIRE(job.ok());
  CHECK(job->seed() == 1);
  CHECK(job->sync().mode() == "downpour");
  CHECK(job->sync().n_push() == 5);
  CHECK(job->sync().local_step());
  CHECK_FALSE(job->sync().has_s());
  CHECK(job->servers().addresses_size() == 1);
  CHECK(std::vector<uint32_t>(job->data().shape().begin(), job->data().shape().end()) ==
        std::vector<uint32_t>{1, 28, 28});
  CHECK(job->optimizer().learning_rate() == Approx(0.01));
  CHECK_FALSE(job->net(1).has_outputs());
}

TEST_CASE("each default of each key fits its own bounds and choices") {
  for (const std::string mode : {"downpour", "asp", "bsp"}) {
    CHECK(ParseJob(std::string(kSmallest) + "sync: {mode: " + mode + "}", "job.yaml").ok());
  }
  for (const std::string& name : KeyOf(Optimizer::descriptor()->FindFieldByName("name")).choices()) {
    CHECK(ParseJob(std::string(kSmallest) + "optimizer: {name: " + name + "}", "job.yaml").ok());
  }
}

TEST_CASE("schedules with the keys that they need") {
  for (const std::string schedule :
       {"policy: fixed", "policy: step, gamma: 0.1, step_size: 100",
        "policy: multistep, gamma: 0.5, step_values: [1, 9]",
        "policy: exp, gamma: 0.99", "policy: inv, gamma: 0.0001", "policy: poly",
        "policy: sigmoid, gamma: -0.01, step_size: 500", "policy: cosine, steps: 500, floor: 0.01",
        "policy: cosine, warmup_steps: 100, warmup_from: 0"}) {
    const absl::StatusOr<Job> job = ParseJob(absl::StrCat(kSmallest, "schedule: {", schedule, "}"), "job.yaml");
    INFO(schedule << ": " << std::string(job.status().message()));
    REQUIRE(job.ok());
    CHECK(ParseJob(JobToYaml(*job), "resolved.yaml")->SerializeAsString() == job->SerializeAsString());
  }
  const auto mistake = [](const std::string& keys) {
    return Mistake(absl::StrCat(kSmallest, "schedule: {", keys, "}"));
  };
  CHECK_THAT(mistake("policy: step, gamma: 0.1"), Contains("schedule.step_size: is missing"));
  CHECK_THAT(mistake("policy: step, gamma: 0.1, step_size: 0"), Contains("0 is not at least 1"));
  CHECK_THAT(mistake("policy: exp, gamma: 1.5"), Contains("1.5 is not between 0 and 1, as exp needs it"));
  CHECK_THAT(mistake("policy: inv, gamma: -1"), Contains("-1 is not at least 0, as inv needs it"));
  CHECK_THAT(mistake("policy: multistep, gamma: 0.1"), Contains("schedule.step_values: is missing"));
  CHECK_THAT(mistake("policy: multistep, gamma: 0.1, step_values: [5, 5]"), Contains("more than the one before"));
  CHECK_THAT(mistake("policy: poly, floor: 0.1"), Contains("schedule.floor: belongs to policy cosine, not to poly"));
  CHECK_THAT(mistake("policy: cosine, floor: 1.1"), Contains("1.1 is not between 0 and 1"));
}

TEST_CASE("an optimizer's settings that would divide by zero are refused") {
  const auto mistake = [](const std::string& keys) {
    return Mistake(absl::StrCat(kSmallest, "optimizer: {", keys, "}"));
  };
  CHECK_THAT(mistake("name: adam, beta1: 1"), Contains("optimizer.beta1: should be less than 1"));
  CHECK_THAT(mistake("name: nadam, beta2: 1"), Contains("optimizer.beta2: should be less than 1"));
  CHECK_THAT(mistake("name: rmsprop, alpha: 1"), Contains("optimizer.alpha: should be less than 1"));
  CHECK_THAT(mistake("name: adadelta, rho: 1"), Contains("optimizer.rho: should be less than 1"));
  CHECK_THAT(mistake("name: adagrad, epsilon: 0"), Contains("optimizer.epsilon: should be more than 0"));
  CHECK_THAT(mistake("name: ftrl, beta: 0"), Contains("optimizer.beta: should be more than 0"));
  CHECK_THAT(mistake("name: sgd, epsilon: 1"), Contains("belongs to name adagrad, adadelta"));
}

TEST_CASE("a misspelt key gives file, line, the key and the nearest known one") {
  CHECK(Mistake(std::string(kSmallest) + "sync:\n  n_fech: 3\n") ==
        "job.yaml:6: sync.n_fech: unknown key; did you mean sync.n_fetch?");
  CHECK(Mistake(std::string(kSmallest) + "n_push: 3\n") ==
        "job.yaml:5: n_push: unknown key; did you mean sync.n_push?");
  CHECK(Mistake(std::string(kSmallest) + "optimizer: {lr: 3}\n") ==
        "job.yaml:5: optimizer.lr: unknown key; did you mean optimizer.learning_rate?");
  CHECK(Mistake(std::string(kSmallest) + "training: {batch_size: 3}\n") ==
        "job.yaml:5: training.batch_size: unknown key; did you mean training.batch?");
  CHECK(Mistake(std::string(kSmallest) + "zzzzzzz: 3\n") == "job.yaml:5: zzzzzzz: unknown key");
}

TEST_CASE("values that don't fit are refused with what would") {
  const std::string base = kSmallest;
  CHECK_THAT(Mistake(base + "workers: 0"), Contains("job.yaml:5: workers: 0 is not between 1 and 100000"));
  CHECK_THAT(Mistake(base + "workers: -1"), Contains("'-1' is not a whole number, not negative"));
  CHECK_THAT(Mistake(base + "workers: two"), Contains("'two' is not a whole number"));
  CHECK_THAT(Mistake(base + "workers: [2]"), Contains("should be a whole number"));
  CHECK_THAT(Mistake(base + "workers: 5000000000"), Contains("5000000000 is not between"));
  CHECK_THAT(Mistake(base + "optimizer: {learning_rate: .nan}"), Contains("not a number"));
  CHECK_THAT(Mistake(base + "optimizer: {learning_rate: -1}"), Contains("at least 0"));
  CHECK_THAT(Mistake(base + "optimizer: {learning_rate: 1e-60}"), Contains("1e-60 is so small that it would count as 0"));
  CHECK(ParseJob(base + "optimizer: {learning_rate: 0.0e5}", "job.yaml").ok());
  CHECK_THAT(Mistake(base + "sync: {wait: 1}"), Contains("'1' is not true or false"));
  CHECK_THAT(Mistake(base + "sync: {mode: dwnpour}"), Contains("did you mean downpour?"));
  CHECK_THAT(Mistake(base + "sync: 3"), Contains("sync: should be a section of keys"));
  CHECK_THAT(Mistake(base + "servers: {addresses: []}"), Contains("servers.addresses: needs at least 1"));
  CHECK_THAT(Mistake(base + "servers: {addresses: ['here']}"), Contains("'here' is not host:port"));
  CHECK_THAT(Mistake(base + "servers: {addresses: ['h:70000']}"), Contains("port above 65535"));
  CHECK_THAT(Mistake(base + "---\nseed: 2"), Contains("a second document"));
  CHECK_THAT(Mistake("name: a\nnet: [{name: \"b\\u00ff\", type: softmax_loss}]"), Contains("net[0].name: 'b"));
  CHECK_THAT(Mistake(base + "servers: {addresses: a:1}"), Contains("should be a list"));
  CHECK_THAT(Mistake(base + "seed: 1\nseed: 2"), Contains("job.yaml:6: seed: given twice"));
  CHECK_THAT(Mistake(base + "worker: {lease_ms: 500, heartbeat_ms: 600}"), Contains("less than worker.lease_ms"));
  CHECK_THAT(Mistake("name: ../x\nnet: [{name: l, type: softmax_loss}]"), Contains("'../x' should be letters"));
}

TEST_CASE("a setting of another mode says whose it is") {
  CHECK(Mistake(std::string(kSmallest) + "sync: {mode: bsp, n_fetch: 5}") ==
        "job.yaml:5: sync.n_fetch: belongs to mode downpour, not to bsp");
  CHECK_THAT(Mistake(std::string(kSmallest) + "optimizer: {name: sgd, momentum: 0.9}"),
             Contains("belongs to name momentum, nesterov, lars, not to sgd"));
  CHECK_THAT(Mistake("name: a\nnet:\n  - {name: r, type: relu, outputs: 3}"),
             Contains("job.yaml:3: net[0].outputs: belongs to type convolution, transposed_convolution, inner_product, "
                      "embedding, lstm, gru, not to relu"));
}

TEST_CASE("what is missing is named, and all mistakes come at once") {
  const std::string mistakes = Mistake("net:\n  - {name: c, type: convolution, outputs: 3}\n  - {name: d}\nfoo: 1");
  CHECK_THAT(mistakes, Contains("name: is missing"));
  CHECK_THAT(mistakes, Contains("net[0].kernel: is missing"));
  CHECK_THAT(mistakes, Contains("net[1].type: is missing"));
  CHECK_THAT(mistakes, Contains("foo: unknown key"));
}

TEST_CASE("text that is no YAML, or no job, is refused with its line") {
  CHECK_THAT(Mistake("a: [1,\nb: }"), Contains("job.yaml:2: not YAML"));
  CHECK_THAT(Mistake("- 1\n- 2"), Contains("should be a section of keys"));
  CHECK_THAT(Mistake(""), Contains("net: is missing"));
  CHECK_THAT(Mistake("? [a, b]\n: 1"), Contains("a key should be a word"));
}

TEST_CASE("a resolved job reads back as itself") {
  const absl::StatusOr<Job> job =
      ParseJob(std::string(kSmallest) + "optimizer: {name: adam, learning_rate: 0.0003}\n"
                                        "data: {train: {images: \"a \\\"b\\\": c\", labels: \"true\"}}",
               "job.yaml");
  REQUIRE(job.ok());
  const absl::StatusOr<Job> back = ParseJob(JobToYaml(*job), "resolved.yaml");
  INFO(JobToYaml(*job));
  REQUIRE(back.ok());
  CHECK(back->SerializeAsString() == job->SerializeAsString());
}

TEST_CASE("worker and server must agree on what matters, and only on that") {
  const Job server = *ParseJob(kSmallest, "job.yaml");
  Job worker = server;
  worker.mutable_run()->set_dir("elsewhere");
  worker.mutable_servers()->set_addresses(0, "10.0.0.1:1");
  CHECK(CheckAgreement(server, worker).ok());
  worker.mutable_net(0)->set_outputs(11);
  const absl::Status status = CheckAgreement(server, worker);
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(status.message()), Contains("net[0].outputs: 10 -> 11"));
}

TEST_CASE("what is set beside the file replaces its keys or adds to them") {
  const std::string file = std::string(kSmallest) + "sync: {mode: downpour, n_push: 3}\noptimizer: {name: momentum}\n";
  const auto set = [&file](const std::vector<std::string>& overrides) {
    const absl::StatusOr<Job> job = ParseJob(file, "job.yaml", overrides);
    INFO(job.status());
    REQUIRE(job.ok());
    return *job;
  };
  CHECK(set({"sync.n_push=10"}).sync().n_push() == 10);
  CHECK(set({"sync.n_fetch=10"}).sync().n_push() == 3);
  CHECK(set({"sync.n_push=10", "sync.n_push=11"}).sync().n_push() == 11);
  CHECK(set({"schedule.policy=poly", "schedule.steps=7"}).schedule().steps() == 7);
  CHECK(set({"run.dir=a=b"}).run().dir() == "a=b");
  // A section is replaced as a whole.
  CHECK(set({"sync={mode: bsp}"}).sync().mode() == "bsp");
  CHECK(set({"optimizer={name: adam, beta1: 0.5}", "optimizer.beta2=0.6"}).optimizer().beta2() == Approx(0.6));
  CHECK(set({"servers={addresses: ['h:1', 'h:2']}", "servers.addresses=['h:3']"}).servers().addresses(0) == "h:3");
  CHECK(set({"sync="}).sync().n_push() == 5);
  CHECK(ParseJob("", "job.yaml", {"name=a", "net=[{name: l, type: softmax_loss}]"}).ok());
}

TEST_CASE("a value that stands twice in the file by an alias is set in one place") {
  const absl::StatusOr<Job> job = ParseJob(
      std::string(kSmallest) + "data: {train: &a {images: i, labels: l}, test: *a}", "job.yaml", {"data.test.images=t"});
  REQUIRE(job.ok());
  CHECK(job->data().train().images() == "i");
  CHECK(job->data().test().images() == "t");
}

TEST_CASE("what a file has for another choice than the one that is set is dropped") {
  const std::string file = std::string(kSmallest) +
                           "sync: {mode: downpour, n_push: 3, max_age: 9}\noptimizer: {name: momentum, momentum: 0.5}\n";
  const absl::StatusOr<Job> job = ParseJob(file, "job.yaml", {"sync.mode=ssp", "optimizer.name=adam"});
  INFO(job.status().message());
  REQUIRE(job.ok());
  CHECK_FALSE(job->sync().has_n_push());
  CHECK(job->sync().max_age() == 9);
  CHECK(job->sync().s() == 3);
  CHECK_FALSE(job->optimizer().has_momentum());
  CHECK(job->optimizer().learning_rate() == Approx(0.001));
}

TEST_CASE("a default can depend on the choice") {
  const auto rate = [](const std::string& optimizer) {
    return ParseJob(std::string(kSmallest) + "optimizer: " + optimizer, "job.yaml")->optimizer().learning_rate();
  };
  CHECK(rate("{}") == Approx(0.01));
  CHECK(rate("{name: momentum}") == Approx(0.01));
  CHECK(rate("{name: adam}") == Approx(0.001));
  CHECK(rate("{name: adamax}") == Approx(0.002));
  CHECK(rate("{name: adam, learning_rate: 0.5}") == Approx(0.5));
  CHECK(rate("{name: adadelta}") == Approx(1));
  CHECK(ParseJob(std::string(kSmallest) + "optimizer: {name: adadelta}", "job.yaml")->optimizer().epsilon() == Approx(1e-6));
}

TEST_CASE("codecs have keys of their own, and parameters only travel in some") {
  const auto wire = [](const std::string& yaml) { return std::string(kSmallest) + "wire: {push: " + yaml + "}\n"; };
  const absl::StatusOr<Job> job = ParseJob(wire("{codec: top_k}"), "job.yaml");
  REQUIRE(job.ok());
  CHECK(job->wire().push().share() == Approx(0.01));
  CHECK(job->wire().push().feedback());
  CHECK_FALSE(job->wire().push().has_rank());
  CHECK(job->wire().pull().codec() == "raw");
  CHECK_THAT(Mistake(wire("{codec: int8, share: 0.1}")), Contains("belongs to codec top_k, random_k, not to int8"));
  CHECK_THAT(Mistake(wire("{feedback: true}")), Contains("belongs to codec bf16, "));
  CHECK_THAT(Mistake(wire("{codec: topk}")), Contains("did you mean top_k?"));
  CHECK_THAT(Mistake(wire("{codec: int8}") + "sync: {mode: local_sgd}\n"),
             Contains("wire.push.codec: int8 is for what is added to parameters; sync.mode local_sgd averages"));
  CHECK(ParseJob(wire("{codec: fp16}") + "sync: {mode: local_sgd}\n", "job.yaml").ok());
}

TEST_CASE("a mistake in what is set names it, and the file's own keep their lines") {
  const std::string file = std::string(kSmallest) + "sync: {mode: downpour, n_push: 3}\nworker: {lease_ms: 500}\n";
  const auto mistake = [&file](const std::vector<std::string>& overrides) {
    const absl::StatusOr<Job> job = ParseJob(file, "job.yaml", overrides);
    REQUIRE_FALSE(job.ok());
    return std::string(job.status().message());
  };
  CHECK(mistake({"worker.heartbeat_ms=100", "sync.n_pusch=3"}) ==
        "--set sync.n_pusch: unknown key; did you mean sync.n_push?");
  CHECK(mistake({"workers=0", "worker.lease_ms=20000"}) == "--set workers: 0 is not between 1 and 100000");
  CHECK_THAT(mistake({"worker={}", "optimizer={name: adm}"}),
             Contains("--set optimizer: optimizer.name: 'adm' is none of sgd, ") && Contains("; did you mean adam?"));
  CHECK(mistake({"worker={}", "synk.n_push=3"}) == "--set synk.n_push: synk: unknown key; did you mean sync?");
  CHECK(mistake({"worker={}", "name.x=3"}) == "--set name.x: name: should be text");
  CHECK(mistake({"worker={}", "net.x=3"}) == "--set net.x: net: should be a list");
  CHECK(mistake({"worker={}", "net=[{name: l}]"}) == "--set net: net[0].type: is missing");
  CHECK(mistake({"worker={}", "sync.mode=bsp", "sync.n_push=4"}) ==
        "--set sync.n_push: belongs to mode downpour, not to bsp");
  CHECK_THAT(mistake({"worker={}", "sync.mode=dwnpour"}), Contains("did you mean downpour?"));
  CHECK(mistake({"worker.heartbeat_ms=600"}) ==
        "--set worker.heartbeat_ms: 600 should be less than worker.lease_ms, 500");
  CHECK(mistake({"n_push"}) == "--set 'n_push': should be key=value, such as sync.n_push=10");
  CHECK(mistake({"=3", "sync..n_push=3"}) == "--set '=3': should be key=value, such as sync.n_push=10\n"
                                             "--set 'sync..n_push=3': should be key=value, such as sync.n_push=10");
  CHECK_THAT(mistake({"sync={mode"}), Contains("--set sync: not YAML: "));
}

TEST_CASE("paths in a file are from its folder, those set beside it from the current one") {
  const std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/jobs";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/job.yaml") << kSmallest << "data: {train: {images: i, labels: ../l}, test: {images: /t}}\n"
                                          << "training: {start_from: m}\n";
  const absl::StatusOr<Job> job = LoadJob(folder + "/job.yaml", {"data.train.images=d/i", "data.test.labels=/l"});
  INFO(job.status());
  REQUIRE(job.ok());
  CHECK(job->data().train().images() == std::filesystem::current_path() / "d/i");
  CHECK(job->data().train().labels() == std::string(std::getenv("TEST_TMPDIR")) + "/l");
  CHECK(job->data().test().images() == "/t");
  CHECK(job->data().test().labels() == "/l");
  CHECK(job->training().start_from() == folder + "/m");
}

// Walks every key: the table itself must be sound.
void CheckTable(const google::protobuf::Descriptor* message) {
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    INFO(field->full_name());
    const Key& key = KeyOf(field);
    CHECK(key.doc().size() > 10);
    CHECK(key.doc().back() == '.');
    CHECK_FALSE((key.required() && !key.default_value().empty()));
    if (!key.only_for().empty()) {
      const auto* selector = SelectorOf(message);
      REQUIRE(selector != nullptr);
      for (const std::string& value : key.only_for()) {
        const auto& choices = KeyOf(selector).choices();
        CHECK(std::find(choices.begin(), choices.end(), value) != choices.end());
      }
    }
    if (field->message_type() != nullptr) CheckTable(field->message_type());
  }
}

TEST_CASE("every key has a sentence, and refers only to what exists") { CheckTable(Job::descriptor()); }

}  // namespace
}  // namespace downpour
