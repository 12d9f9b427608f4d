package downpour

import java.nio.file.{Files, Path}

import scala.util.Using
import scala.util.control.NonFatal

import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.functions.xxhash64
import org.apache.spark.sql.types.ArrayType
import org.apache.spark.sql.{DataFrame, Dataset}

/** What a training run left: its folder on the driver, its summary.json, what each partition's worker did, and the tries
  * that failed before others went on where they had got to.
  */
final case class TrainingResult(runDir: Path, summary: Map[String, Any], partitions: Seq[PartitionResult],
                                retries: Seq[FailedAttempt])

/** Trains a job on a DataFrame: servers, if the job wants any, and one worker for each partition. */
private[downpour] object Training {
  private val StallSeconds = 300.0
  private val ScaleOfBytes = 1.0 / 256

  /** Trains. If the rows are not to be dealt out, a worker has a partition as it is, unless these are not as many as the
    * job's `workers`. `servers` as Placement.of takes it.
    *
    * Throws DataError for columns that cannot be trained on, WorkerFailed for the first worker that failed, and
    * TrainingFailed, which both are too, for anything else that kept the job from ending well. Whatever ends it, an
    * interrupt of the calling thread included, the servers and workers end with it.
    */
  def train(data: Dataset[_], job: Job, columns: TrainingColumns, dealOut: Boolean, servers: String): TrainingResult = {
    val rows = columns.select(data)
    if (areFloatsWithTheScaleOfBytes(rows, job)) println(
      "The features are floats, and the job multiplies them by data.scale, 1/256, which is for bytes: set data:" +
        " {scale: 1} unless they lie between 0 and 255.")
    val layout = columns.layout(rows.schema)
    val context = data.sparkSession.sparkContext
    if (job.strong) Slots.check(context, job.workers)
    val placement = Servers.place(context, job, servers)
    Using.resource(new TaggedJobs(context)) { jobs =>
      def partitions(dealOut: Boolean): RDD[InternalRow] =
        // Where there is a shuffle, Spark may run the stages before it as soon as it is asked for the rows.
        jobs.of {
          try { if (dealOut) dealt(rows, job.workers) else partitioned(rows, job.workers) }
          catch { case NonFatal(error) => throw SparkFailed.of(error) }
        }
      val first = partitions(dealOut)
      Using.resource(Servers.start(context, job, placement)) { running =>
        val result = supervised(context, job, running, jobs, layout) { start =>
          try start(first)
          catch {
            case _: UnfitForBarrier =>
              println("The data is repartitioned: what it was made by, such as coalesce or union, can't be part of a" +
                " barrier stage.")
              start(partitions(dealOut = true))
          }
        }
        running.close()
        running.stage.foreach(_.writeLogs(result.runDir.resolve("logs")))
        result
      }
    }
  }

  /** The rows in as many partitions as workers, each with rows like all of them, however they were sorted before. Each is
    * sorted by a hash, so that a task that is tried again is given the same rows in the same order.
    */
  private def dealt(rows: DataFrame, workers: Int): RDD[InternalRow] =
    rows.repartition(workers).sortWithinPartitions(xxhash64(rows.columns.map(Columns.quoted).toSeq: _*))
      .queryExecution.toRdd

  /** The rows as Spark has them inside, dealt out where their partitions are not as many as workers. */
  private def partitioned(rows: DataFrame, workers: Int): RDD[InternalRow] = {
    val found = rows.queryExecution.toRdd
    if (found.getNumPartitions == workers) found
    else {
      println(s"The data is repartitioned: it has ${found.getNumPartitions} partitions, and the job has $workers" +
        " workers.")
      dealt(rows, workers)
    }
  }

  /** A run by ps-run, whose workers `train` starts by what it is given. */
  private def supervised(context: SparkContext, job: Job, servers: Servers, jobs: TaggedJobs, layout: RowLayout)(
      train: (RDD[InternalRow] => Option[Seq[PartitionResult]]) => Option[Seq[PartitionResult]]): TrainingResult =
    Using.resource(new Supervisor(job, servers.settings, servers.attach)) { supervisor =>
      try {
        // A server that has died since it said where it listens is why ps-run gets no answer.
        val running = try supervisor.awaitStarted()
        catch { case error: TrainingFailed => throw servers.failure(follows = true).getOrElse(error) }
        def start(rows: RDD[InternalRow]) = {
          val trainer = new PartitionTrainer(cluster(running, job, servers, context), layout)
          val trained = if (running.strong) rows.barrier().mapPartitions(trainer) else rows.mapPartitions(trainer)
          val last = if (mayBeTriedAgain(context, running)) trained.repartition(1) else trained
          new Collecting(last, jobs, servers, supervisor, running).results()
        }
        val results = train(start(_))
        if (results.exists(!_.exists(_.samples > 0))) throw new TrainingFailed("there are no rows to train on")
        val epochs = results.toSeq.flatten.flatMap(_.epochs)
        if (epochs.nonEmpty && epochs.forall(_.train.isEmpty))
          throw new TrainingFailed("there is nothing to train on: the rows' weights add up to 0")
        supervisor.awaitFinished()
        val summary = supervisor.summary
        if (summary.isEmpty) throw new TrainingFailed(s"${running.runDir} has no summary.json")
        val retries = Attempts.failed(jobs.failedTasks(), summary, running.strong).map(_.asAttempt)
        retries.foreach(retry => println(s"An attempt failed, and another went on where it had got to: $retry"))
        TrainingResult(running.runDir, summary, complete(results.getOrElse(Nil), summary), retries)
      } catch {
        case error: Throwable =>
          supervisor.stop(Option(error.getMessage).getOrElse(error.toString))
          throw error
      }
    }

  /** What all workers did: of those that Spark has no result of, as the servers know it. */
  private def complete(results: Seq[PartitionResult], summary: Map[String, Any]): Seq[PartitionResult] = {
    val known = results.map(_.partition).toSet
    val missing = Json.objects(summary.get("workers")).map(worker => PartitionResult.of(worker("partition").toString.toInt, worker))
    (results ++ missing.filterNot(one => known(one.partition))).sortBy(_.partition)
  }

  private def cluster(running: RunningJob, job: Job, servers: Servers, context: SparkContext): Cluster = {
    // Where shards live in the workers, one takes no data before all have met.
    val meeting = if (running.rendezvous.isEmpty) 0.0
                  else job.section("sync").get("join_timeout_ms").fold(0.0)(_.toString.toDouble / 1000)
    Cluster(running.servers, Files.readString(running.jobFile), job.rowValues, job.workers, running.strong,
            running.runDir.resolve("logs").toString, running.rendezvous, StallSeconds + meeting,
            ExecutorMemory.of(context.getConf.getOption), job.workers + servers.tasks)
  }

  /** Whether the workers' stage is to be a barrier that Spark runs again when it fails: one that another comes after.
    *
    * Spark gives up a job whose last stage is a barrier that failed, and any other barrier only after some tries, even
    * where, as in local[N], it tries no task again.
    */
  private def mayBeTriedAgain(context: SparkContext, running: RunningJob): Boolean =
    running.strong && running.rendezvous.isEmpty && !context.master.matches("""local(\[[^,]*\])?""")

  private def areFloatsWithTheScaleOfBytes(rows: DataFrame, job: Job): Boolean =
    rows.schema("features").dataType.isInstanceOf[ArrayType] &&
      job.section("data").get("scale").exists(_.toString.toDouble == ScaleOfBytes)
}
