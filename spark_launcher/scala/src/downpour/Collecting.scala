package downpour

import scala.concurrent.duration._
import scala.util.{Failure, Success}

import org.apache.spark.FutureAction
import org.apache.spark.rdd.RDD

/** What made the rows, such as coalesce or union, can't be part of a barrier stage. */
private[downpour] final class UnfitForBarrier(cause: Throwable) extends RuntimeException(cause)

/** The workers' Spark job, from its start to its results, or to why there are none. For one thread. */
private[downpour] final class Collecting(trained: RDD[PartitionResult], jobs: TaggedJobs, servers: Servers,
                                         supervisor: Supervisor, running: RunningJob) {
  import Collecting._

  /** All results; none where Spark does not bring them, though ps-run says that all has been done.
    *
    * UnfitForBarrier, before any task has run and with ps-run as it was, where the rows cannot be in a barrier stage.
    *
    * Cancels the Spark job if this thread is interrupted, or if ps-run or a server that is a task fails and the workers
    * do not say why.
    */
  def results(): Option[Seq[PartitionResult]] = {
    val action = jobs.of(trained.collectAsync())
    val brought = try awaited(action)
    catch {
      case error: Throwable =>
        action.cancel()
        if (!error.isInstanceOf[InterruptedException]) Futures.isDone(action, Cancel)
        throw error
    }
    if (!brought) {
      action.cancel()
      Futures.isDone(action, Cancel)
      None
    } else action.value.get match {
      case Success(results) => Some(results)
      case Failure(error) if running.strong && String.valueOf(error.getMessage).contains("SPARK-24820") =>
        throw new UnfitForBarrier(error)
      case Failure(_) if supervisor.isDone => None // only the way back to here has failed
      case Failure(error) => throw cause(error)
    }
  }

  /** Whether it has ended, and has not to be given up since ps-run has ended well long ago. */
  private def awaited(action: FutureAction[_]): Boolean = {
    var failure = Option.empty[TrainingFailed]
    var ended = Option.empty[Long] // when that was seen, in nanoseconds
    def since = ended.fold(Duration.Zero)(begin => (System.nanoTime() - begin).nanos)
    while (!Futures.isDone(action, Look) && (failure.isDefined || since < Bring)) {
      failure = failure.orElse(servers.failure()).orElse(supervisor.failure())
      if (ended.isEmpty && (failure.isDefined || supervisor.hasEnded)) ended = Some(System.nanoTime())
      if (since > Speak) failure.foreach(throw _)
    }
    action.isCompleted
  }

  /** The root of a failed Spark job, out of a stack trace of a hundred lines. */
  private def cause(error: Throwable): TrainingFailed = {
    val last = lastFailure(error)
    supervisor.stop(last.getMessage) // whose summary then says what the servers know
    val partition = last match {
      case worker: WorkerFailed => Some(worker.partition)
      case _ => Attempts.partitionOf(String.valueOf(error.getMessage))
    }
    val attempts = Attempts.failed(jobs.failedTasks(), supervisor.summary, running.strong)
    Attempts.first(last, attempts, partition, running.strong, running.runDir.resolve("logs")) match {
      case worker: WorkerFailed if worker.follows && servers.failure(follows = true).isDefined => servers.failure().get
      case worker: WorkerFailed if running.rendezvous.nonEmpty && worker.avoidable => worker.withHint(BeginAgain)
      case other => servers.failure().getOrElse(other)
    }
  }

  /** What Spark gave up for. */
  private def lastFailure(error: Throwable): TrainingFailed = {
    val text = String.valueOf(error.getMessage)
    val worker = Throwables.chain(error).collectFirst { case task: TaskFailed => task.failure }
    worker.orElse(WorkerFailed.fromText(text)).map(_.withCause(error)).orElse(supervisor.failure()).getOrElse {
      if (text.contains("SPARK-24819")) new TrainingFailed(Slots.TooFew, error)
      else if (text.contains("SPARK-24942")) new TrainingFailed(Slots.Dynamic, error)
      else SparkFailed.of(error)
    }
  }
}

private object Collecting {
  private val Look = 100.millis   // how often a wait looks whether the supervisor still runs
  private val Cancel = 10.seconds // how long cancelled tasks may take to end
  private val Speak = 15.seconds  // how long the tasks have to say why, once ps-run has failed
  private val Bring = 60.seconds  // how long Spark may take to bring the results, once ps-run has ended well
  private val BeginAgain =
    "where the shards live in the workers, a lost one takes its share along: the job has to begin again"
}
