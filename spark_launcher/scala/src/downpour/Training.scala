package downpour

import java.nio.file.{Files, Path}

import scala.concurrent.Await
import scala.concurrent.TimeoutException
import scala.concurrent.duration._
import scala.util.control.NonFatal
import scala.util.{Failure, Success}

import org.apache.spark.{FutureAction, SparkContext, SparkException}
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.functions.xxhash64
import org.apache.spark.sql.types.ArrayType
import org.apache.spark.sql.{DataFrame, Dataset}

/** What a training run left: its folder on the driver, its summary.json, and what each partition's worker did. */
final case class TrainingResult(runDir: Path, summary: Map[String, Any], partitions: Seq[PartitionResult])

/** Trains a job on a DataFrame: servers on this machine, or none, and one worker for each partition. */
private[downpour] object Training {
  private val Look = 100.millis   // how often a wait looks whether the supervisor still runs
  private val CancelSeconds = 10L // how long cancelled tasks may take to end
  private val SpeakSeconds = 15L  // how long the tasks have to say why, once ps-run has failed
  private val StallSeconds = 300.0
  private val ScaleOfBytes = 1.0 / 256
  private val TooFewSlots =
    "the job's sync mode is strong, so all partitions run at once, and Spark has fewer slots than the" +
    " job has workers: give it more cores, or the job fewer workers"
  private val BeginAgain =
    "where the shards live in the workers, a lost one takes its share along: the job has to begin again"

  /** Trains. If the rows are not to be dealt out, a worker has a partition as it is, unless these are not as many as the
    * job's `workers`.
    *
    * Throws DataError for columns that cannot be trained on, WorkerFailed for the first worker that failed, and
    * TrainingFailed, which both are too, for anything else that kept the job from ending well. Whatever ends it, an
    * interrupt of the calling thread included, the servers and workers end with it.
    */
  def train(data: Dataset[_], job: Job, columns: TrainingColumns, dealOut: Boolean): TrainingResult = {
    val rows = columns.select(data)
    if (areFloatsWithTheScaleOfBytes(rows, job)) println(
      "The features are floats, and the job multiplies them by data.scale, 1/256, which is for bytes: set data:" +
        " {scale: 1} unless they lie between 0 and 255.")
    // Where there is a shuffle, Spark may run the stages before it as soon as it is asked for the rows.
    val partitions = try { if (dealOut) dealt(rows, job.workers) else partitioned(rows, job.workers) }
                     catch { case NonFatal(error) => throw sparkFailure(error) }
    run(data.sparkSession.sparkContext, job, partitions, columns.layout(rows.schema))
  }

  /** The rows in as many partitions as workers, each with rows like all of them, however they were sorted before. Each is
    * sorted by a hash, so that a task that is tried again is given the same rows in the same order.
    */
  private def dealt(rows: DataFrame, workers: Int): RDD[InternalRow] =
    rows.repartition(workers).sortWithinPartitions(xxhash64(rows.columns.map(Columns.quoted).toSeq: _*))
      .queryExecution.toRdd

  /** The rows as Spark has them inside, in so many partitions. */
  private def partitioned(rows: DataFrame, workers: Int): RDD[InternalRow] = {
    val found = rows.queryExecution.toRdd
    if (found.getNumPartitions == workers) found
    else {
      println(s"The data is repartitioned: it has ${found.getNumPartitions} partitions, and the job has $workers" +
        " workers.")
      rows.repartition(workers).queryExecution.toRdd
    }
  }

  private def run(context: SparkContext, job: Job, rows: RDD[InternalRow], layout: RowLayout): TrainingResult = {
    val supervisor = new Supervisor(job)
    try {
      val running = supervisor.awaitStarted()
      if (running.strong) checkSlots(context, job)
      val trainer = new PartitionTrainer(cluster(running, job, ExecutorMemory.of(context.getConf.getOption)), layout)
      def start(rows: RDD[InternalRow]) = {
        val trained = if (running.strong) rows.barrier().mapPartitions(trainer) else rows.mapPartitions(trainer)
        collect(if (mayBeTriedAgain(context, running)) trained.repartition(1) else trained, supervisor, running)
      }
      val results = try start(rows)
      catch {
        // Spark says so before any task runs.
        case error: TrainingFailed if running.strong && Option(error.getCause).exists(notInABarrier) =>
          println("The data is repartitioned: what it was made by, such as coalesce or union, can't be part of a" +
            " barrier stage.")
          start(shuffled(rows, job.workers))
      }
      if (!results.exists(_.samples > 0)) throw new TrainingFailed("there are no rows to train on")
      supervisor.awaitFinished()
      val summary = Supervisor.summary(running.runDir).getOrElse(
        throw new TrainingFailed(s"${running.runDir} has no summary.json"))
      TrainingResult(running.runDir, summary, results.sortBy(_.partition))
    } catch {
      case error: Throwable =>
        supervisor.sayWhy(Option(error.getMessage).getOrElse(error.toString))
        throw error
    } finally supervisor.close()
  }

  private def notInABarrier(error: Throwable): Boolean = String.valueOf(error.getMessage).contains("SPARK-24820")

  /** The same rows, dealt anew. Rows inside Spark are used again by who makes them, so each is copied. */
  private def shuffled(rows: RDD[InternalRow], workers: Int): RDD[InternalRow] = rows.map(_.copy()).repartition(workers)

  private def cluster(running: RunningJob, job: Job, memory: Option[ExecutorMemory]): Cluster = {
    // Where shards live in the workers, one takes no data before all have met.
    val meeting = if (running.rendezvous.isEmpty) 0.0
                  else job.section("sync").get("join_timeout_ms").fold(0.0)(_.toString.toDouble / 1000)
    Cluster(running.servers, Files.readString(running.jobFile), job.rowValues, job.workers, running.strong,
            running.runDir.resolve("logs").toString, running.rendezvous, StallSeconds + meeting, memory)
  }

  /** Whether the workers' stage is to be a barrier that Spark runs again when it fails: one that another comes after.
    *
    * Spark gives up a job whose last stage is a barrier that failed, and any other barrier only after some tries, even
    * where, as in local[N], it tries no task again.
    */
  private def mayBeTriedAgain(context: SparkContext, running: RunningJob): Boolean =
    running.strong && running.rendezvous.isEmpty && !context.master.matches("""local(\[[^,]*\])?""")

  /** All results; cancels the Spark job if this thread is interrupted, or if ps-run fails and no task says why. */
  private def collect(trained: RDD[PartitionResult], supervisor: Supervisor,
                      running: RunningJob): Seq[PartitionResult] = {
    val action = trained.collectAsync()
    try {
      var failed = Option.empty[(TrainingFailed, Deadline)]
      while (!isDone(action, Look)) {
        failed = failed.orElse(supervisor.failure().map(_ -> SpeakSeconds.seconds.fromNow))
        failed.foreach { case (failure, silence) => if (silence.isOverdue()) throw failure }
      }
    } catch {
      case error: Throwable =>
        action.cancel()
        if (!error.isInstanceOf[InterruptedException]) isDone(action, CancelSeconds.seconds)
        throw error
    }
    action.value.get match {
      case Success(results) => results
      case Failure(error) => throw cause(error, supervisor, running)
    }
  }

  private def isDone(action: FutureAction[_], within: FiniteDuration): Boolean =
    try { Await.ready(action, within); true }
    catch { case _: TimeoutException => false }

  /** The root of a failed Spark job, out of a stack trace of a hundred lines. */
  private def cause(error: Throwable, supervisor: Supervisor, running: RunningJob): TrainingFailed = {
    val text = String.valueOf(error.getMessage)
    val roots = Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(20).toSeq
    val worker = roots.collectFirst { case task: TaskFailed => task.failure }.orElse(WorkerFailed.fromText(text))
    worker.map(_.withCause(error)).map { failure =>
      if (running.rendezvous.nonEmpty && failure.avoidable) failure.withHint(BeginAgain) else failure
    }.orElse(supervisor.failure()).getOrElse {
      if (text.contains("SPARK-24819")) new TrainingFailed(TooFewSlots, error) else sparkFailure(error)
    }
  }

  /** What Spark says of a job that it gave up, by the root of its error. */
  private def sparkFailure(error: Throwable): TrainingFailed =
    Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(20).toSeq.last match {
      case root: SparkException if root eq error =>
        val lines = String.valueOf(error.getMessage).linesIterator
        new TrainingFailed("the Spark job failed: " + lines.find(_.trim.nonEmpty).getOrElse(error), error)
      case root => new TrainingFailed(s"a partition could not be computed: $root", error)
    }

  /** Refuses a strong job that a local Spark can never run; Spark itself says so only after ten minutes.
    *
    * On a cluster more executors may be on their way, so there it is left to Spark.
    */
  private def checkSlots(context: SparkContext, job: Job): Unit = {
    val conf = context.getConf
    if (context.master.matches("""local(\[.*)?""") && !conf.contains("spark.default.parallelism") &&
        context.defaultParallelism / conf.getInt("spark.task.cpus", 1) < job.workers)
      throw new TrainingFailed(TooFewSlots)
  }

  private def areFloatsWithTheScaleOfBytes(rows: DataFrame, job: Job): Boolean =
    rows.schema("features").dataType.isInstanceOf[ArrayType] &&
      job.section("data").get("scale").exists(_.toString.toDouble == ScaleOfBytes)
}
