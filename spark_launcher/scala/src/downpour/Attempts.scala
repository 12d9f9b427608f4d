package downpour

import java.nio.file.Path

import scala.util.Try

/** Tries at partitions that failed, put together from what Spark and what the servers know of them.
  *
  * Spark knows each try's error with all its text; the servers know of each worker that came to them how it left, or
  * that it fell silent. A try's task attempt is Spark's task id on both sides (PartitionTrainer).
  */
private[downpour] object Attempts {
  private val ExecutorHint =
    "its executor ended under it, which that one's own log explains; where its host or container ran out of memory," +
      " raise spark.executor.memoryOverhead, or lower the job's worker.feed_memory_bytes"
  private val NoCause = Set("left", "live") // states of tries that were told to stop, or whose place was taken

  private final case class Found(stage: Long, rank: Int, task: Long, failure: WorkerFailed)
  private final case class Ended(partition: Int, attempt: String, host: String, state: String, reason: String)

  /** All of them, the first first; where all workers start again together, the one that was the cause before those that
    * followed from it.
    *
    * @param summary ps-run's, as far as there is one
    */
  def failed(tasks: Seq[FailedTask], summary: Map[String, Any], strong: Boolean): Seq[WorkerFailed] = {
    val known = tasks.map(task => task.id -> task).toMap
    val told = ended(summary)
    val byServers = told.flatMap { one =>
      val (stage, id) = pair(one.attempt)
      val task = known.get(id)
      val own = task.flatMap(ofTask(_, one.attempt))
      val rank = if (own.isDefined) 0 else if (NoCause(one.state)) 2 else 1
      Option.unless(task.exists(_.killed))(Found(stage, rank, id, own.getOrElse(
        new WorkerFailed(one.partition, one.attempt, one.host, None,
                         if (one.reason.isEmpty) "it said nothing" else one.reason, "", Nil))))
    }
    // Without a worker's own word it may be a task of another stage, of those that compute the data.
    val bySpark = (known -- told.map(one => pair(one.attempt)._2)).values.filterNot(_.killed).flatMap(task =>
      WorkerFailed.fromText(task.text).map(failure => Found(pair(failure.attempt)._1, 0, task.id, failure)))
    val all = byServers ++ bySpark
    (if (strong) all.sortBy(one => (one.stage, one.rank, one.failure.follows, one.task)) else all.sortBy(_.task))
      .map(_.failure)
  }

  /** The error that a failed job is to end with: that of the first failed try at the partition which it ended for, with
    * the others listed; where all workers start again together, of the first of all.
    *
    * @param last what Spark ended the job for
    * @param partition whose failure that was, where it is known
    * @param logs the folder of the workers' logs, where they can be read
    */
  def first(last: TrainingFailed, attempts: Seq[WorkerFailed], partition: Option[Int], strong: Boolean,
            logs: Path): TrainingFailed = {
    val ours = if (strong) attempts else attempts.filter(one => partition.contains(one.partition))
    (last, ours.headOption) match {
      case (_: WorkerFailed | _: SparkFailed, Some(first)) =>
        first.withOthers(attempts.filterNot(_ eq first).map(_.asAttempt),
                         Tail.of(logs.resolve(s"worker-${first.partition}.log"))).withCause(last.getCause)
      case (_: PartitionFailed, Some(first)) if attempts.size > 1 =>
        val others = attempts.filterNot(_ eq first).map("    " + _.asAttempt)
        val at = first.asAttempt
        new PartitionFailed((Seq(s"a partition could not be computed: ${first.reason}",
                                 s"first in ${at.where}", "then, or elsewhere:") ++ others).mkString("\n"), last.getCause)
      case _ => last
    }
  }

  /** The partition that a Spark error ended its job for. */
  def partitionOf(text: String): Option[Int] =
    """\b[Tt]ask (\d+)(?:\.\d+)? in stage [\d.]+""".r.findFirstMatchIn(text).map(_.group(1).toInt)

  private def ended(summary: Map[String, Any]): Seq[Ended] =
    for {
      worker <- Json.objects(summary.get("workers"))
      one <- Json.objects(worker.get("ended"))
    } yield {
      def word(key: String) = one.get(key).filter(_ != null).fold("")(_.toString)
      Ended(worker("partition").toString.toInt, word("attempt"), word("host"), word("state"), word("reason"))
    }

  private def ofTask(task: FailedTask, attempt: String): Option[WorkerFailed] =
    WorkerFailed.fromText(task.text).orElse(task.text.linesIterator.find(_.trim.nonEmpty).map { reason =>
      new WorkerFailed(task.partition, attempt, task.host, None, reason,
                       if (reason.startsWith("ExecutorLost")) ExecutorHint else "", Nil)
    })

  /** Stage and task of "stage.task". */
  private def pair(attempt: String): (Long, Long) = attempt.split('.') match {
    case Array(stage, task) => (Try(stage.toLong).getOrElse(0), Try(task.toLong).getOrElse(0))
    case _ => (0, 0)
  }
}
