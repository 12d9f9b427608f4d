package downpour

import java.io.IOException
import java.nio.file.{Files, Path, Paths}

import org.apache.spark.{BarrierTaskContext, TaskContext}
import org.apache.spark.sql.catalyst.InternalRow

/** What a task must know of the job. It travels to executors.
  *
  * @param jobText the job file itself, since an executor's host may not have it
  * @param logs the folder for the workers' logs, used where it exists on that host
  * @param rowValues number of values of a sample
  * @param rendezvous where workers that hold the shards meet; "" where servers hold them
  * @param stallSeconds how long a worker may take no data
  * @param memory what workers have of an executor's; none where nothing bounds it
  * @param tasks how many share it in all: workers, and servers that are tasks
  */
private[downpour] final case class Cluster(servers: Seq[String], jobText: String, rowValues: Int, workers: Int,
                                           strong: Boolean, logs: String, rendezvous: String, stallSeconds: Double,
                                           memory: Option[ExecutorMemory], tasks: Int)

/** The function that runs inside a Spark task: it starts a worker, feeds it the partition and gives its result.
  *
  * Spark's task attempt id, which grows with each try in the whole application, orders the tries. The tasks of a
  * barrier stage begin together, and again together where one fails: the stage attempt is one more than the least of
  * their ids, by which the servers know to wait for all of them. Without a barrier it is always 0.
  *
  * Where the shards live in the workers, one that is lost takes the others along, and Spark reports the first failure
  * that it hears of. So a worker that has lost another keeps quiet for a moment: that one's own failure says more.
  */
private[downpour] final class PartitionTrainer(cluster: Cluster, layout: RowLayout)
    extends (Iterator[InternalRow] => Iterator[PartitionResult]) with Serializable {
  import PartitionTrainer._

  override def apply(rows: Iterator[InternalRow]): Iterator[PartitionResult] =
    try Iterator.single(train(rows, identity()))
    catch {
      case failure: WorkerFailed =>
        if (cluster.rendezvous.nonEmpty && failure.follows) Thread.sleep(AfterYouMs)
        throw new TaskFailed(failure)
    }

  private def identity(): Identity = {
    val context = TaskContext.get()
    val stage =
      if (!cluster.strong) 0
      else 1 + BarrierTaskContext.get().allGather(context.taskAttemptId().toString).map(_.toLong).min
    Identity(context.partitionId(), stage, context.taskAttemptId())
  }

  private def train(rows: Iterator[InternalRow], identity: Identity): PartitionResult = {
    if (identity.partition >= cluster.workers) throw WorkerFailed(
      identity, Some(ExitStatus.Usage), s"the data has a partition ${identity.partition}, but the job has" +
        s" ${cluster.workers} workers", "the number of partitions changed after it was counted")
    val program = try Programs.path(Programs.Worker)
    catch { case error: TrainingFailed => throw WorkerFailed(identity, None, error.getMessage) }
    val meeting = Option.when(cluster.rendezvous.nonEmpty)(meet(identity))
    val folder = Folder.temporary()
    try {
      val config = Files.writeString(folder.resolve("job.yaml"), cluster.jobText)
      val logFile = logFolder(folder).resolve(s"worker-${identity.partition}.log")
      val context = TaskContext.get()
      val memory = cluster.memory.map(_.share(cluster.tasks))
      val worker = new WorkerProcess(program, config, cluster.servers, identity, meeting, memory,
                                     ExecutorMemory.spoolFolder(), logFile, cluster.stallSeconds,
                                     () => context.isInterrupted())
      try {
        try layout.encode(rows, new FrameEncoder(layout.columns, cluster.rowValues, worker))
        catch { case error: DataError => throw WorkerFailed(identity, None, error.getMessage) }
        PartitionResult.of(identity.partition, worker.finish())
      } finally worker.close()
    } finally Folder.remove(folder)
  }

  private def meet(identity: Identity): Meeting =
    try Meeting.at(cluster.rendezvous)
    catch {
      case error: IOException => throw WorkerFailed(
        identity, None, s"the workers' rendezvous at ${cluster.rendezvous} cannot be reached: ${error.getMessage}",
        "it listens on the driver's host, at the host of the job's servers.addresses[0]: that should not be loopback" +
          " where executors are elsewhere, nor be behind a firewall")
    }

  private def logFolder(otherwise: Path): Path = {
    val logs = Paths.get(cluster.logs)
    if (Files.isWritable(logs)) logs else otherwise
  }
}

private[downpour] object PartitionTrainer {
  private val AfterYouMs = 5000 // how long a worker that has lost another leaves it to that one to say why
}
