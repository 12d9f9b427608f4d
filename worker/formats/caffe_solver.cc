#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/formats/caffe_net.h"
#include "worker/formats/mistakes.h"

namespace downpour::formats {
namespace {

std::string TypeOf(const caffe::SolverParameter& solver) {
  if (!solver.has_solver_type()) return solver.type();
  switch (solver.solver_type()) {
    case caffe::SolverParameter::SGD: return "SGD";
    case caffe::SolverParameter::NESTEROV: return "Nesterov";
    case caffe::SolverParameter::ADAGRAD: return "AdaGrad";
    case caffe::SolverParameter::RMSPROP: return "RMSProp";
    case caffe::SolverParameter::ADADELTA: return "AdaDelta";
    case caffe::SolverParameter::ADAM: return "Adam";
  }
  return solver.type();
}

void SetOptimizer(const caffe::SolverParameter& solver, Mistakes* mistakes, Optimizer* optimizer) {
  const std::string type = TypeOf(solver);
  if (type == "SGD") {
    optimizer->set_name(solver.momentum() == 0 ? "sgd" : "momentum");
    if (solver.momentum() != 0) optimizer->set_momentum(solver.momentum());
  } else if (type == "Nesterov") {
    optimizer->set_name("nesterov");
    optimizer->set_momentum(solver.momentum());
  } else if (type == "AdaGrad") {
    optimizer->set_name("adagrad");
    optimizer->set_epsilon(solver.delta());
  } else if (type == "RMSProp") {
    optimizer->set_name("rmsprop");
    optimizer->set_alpha(solver.rms_decay());
    optimizer->set_epsilon(solver.delta());
  } else if (type == "AdaDelta") {
    optimizer->set_name("adadelta");
    optimizer->set_rho(solver.momentum());
    optimizer->set_epsilon(solver.delta());
  } else if (type == "Adam") {
    optimizer->set_name("adam");
    optimizer->set_beta1(solver.momentum());
    optimizer->set_beta2(solver.momentum2());
    optimizer->set_epsilon(solver.delta());
  } else {
    mistakes->Add(0, absl::StrCat("solver type '", type.substr(0, 40),
                                  "' is not known; known: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam"));
  }
  optimizer->set_learning_rate(solver.base_lr());
  if (solver.weight_decay() == 0) return;
  if (solver.regularization_type() == "L2") {
    optimizer->set_weight_decay(solver.weight_decay());
  } else if (solver.regularization_type() == "L1") {
    optimizer->set_l1(solver.weight_decay());
  } else {
    mistakes->Add(0, absl::StrCat("regularization_type '", solver.regularization_type().substr(0, 40),
                                  "' is not known; known: L1, L2"));
  }
}

void SetSchedule(const caffe::SolverParameter& solver, Mistakes* mistakes, Schedule* schedule) {
  const std::string& policy = solver.lr_policy();
  const bool known = std::ranges::any_of(
      std::initializer_list<const char*>{"fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"},
      [&](const char* each) { return policy == each; });
  if (!known) {
    mistakes->Add(0, absl::StrCat("lr_policy '", policy.substr(0, 40),
                                  "' is not known; known: fixed, step, exp, inv, multistep, poly, sigmoid"));
    return;
  }
  schedule->set_policy(policy);
  if (policy != "fixed" && policy != "poly") schedule->set_gamma(solver.gamma());
  if (policy == "inv" || policy == "poly") schedule->set_power(solver.power());
  if (policy == "step" || policy == "sigmoid") schedule->set_step_size(std::max(0, solver.stepsize()));
  if (policy == "poly") schedule->set_steps(std::max(0, solver.max_iter()));
  if (policy == "multistep") {
    for (const int step : solver.stepvalue()) schedule->add_step_values(std::max(0, step));
  }
}

}  // namespace

absl::Status ApplyCaffeSolver(const caffe::SolverParameter& solver, const std::string& file, CaffeNet* net) {
  constexpr int kEnoughEpochs = 1000000;  // max_iter ends the training
  constexpr int kMostEvaluations = 10000;
  constexpr std::uint64_t kMostSamples = 1 << 21;  // more than a job takes, which says so then
  Mistakes mistakes(file);
  Job& job = net->job;
  SetOptimizer(solver, &mistakes, job.mutable_optimizer());
  SetSchedule(solver, &mistakes, job.mutable_schedule());
  if (solver.max_iter() < 1) mistakes.Add(0, "max_iter is not above 0");
  if (solver.iter_size() < 1) mistakes.Add(0, "iter_size is not above 0");
  if (absl::Status status = mistakes.ToStatus(); !status.ok()) return status;
  job.mutable_training()->set_max_steps(solver.max_iter());
  job.mutable_training()->set_epochs(kEnoughEpochs);
  if (solver.iter_size() > 1 && job.training().has_batch()) {
    const std::uint64_t samples = std::uint64_t{job.training().batch()} * static_cast<std::uint64_t>(solver.iter_size());
    job.mutable_training()->set_batch(static_cast<std::uint32_t>(std::min<std::uint64_t>(samples, kMostSamples)));
  }
  if (solver.clip_gradients() > 0) job.mutable_training()->set_clip_norm(solver.clip_gradients());
  if (solver.random_seed() >= 0) job.set_seed(static_cast<std::uint64_t>(solver.random_seed()));
  if (solver.test_interval() > 0) {
    job.mutable_run()->set_evaluations(std::clamp(solver.max_iter() / solver.test_interval(), 1, kMostEvaluations));
  }
  if (solver.snapshot() > 0) net->notes.push_back("snapshot is left out: the model is written at the end of a run");
  if (solver.weights_size() > 0) {
    net->notes.push_back("weights are left out: a job's training begins with what its fillers give");
  }
  return absl::OkStatus();
}

}  // namespace downpour::formats
