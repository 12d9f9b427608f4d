package downpour

import scala.util.matching.Regex

import org.apache.spark.SparkException

/** A training job that did not end well; the message says why. */
class TrainingFailed(message: String, cause: Throwable = null) extends RuntimeException(message, cause)

/** Rows or columns that cannot be trained on; the message names the column, and the row where there is one. */
class DataError(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

/** A partition whose rows could not be computed. */
class PartitionFailed(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

/** A Spark job that failed for what is not the worker's doing, such as a lost executor. */
class SparkFailed(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

object SparkFailed {
  /** What Spark says of a job that it gave up, by the root of its error: a PartitionFailed where it is a row's. */
  def of(error: Throwable): TrainingFailed = Throwables.chain(error).last match {
    case root: SparkException if root eq error => new SparkFailed("the Spark job failed: " + reason(error), error)
    case root => new PartitionFailed(s"a partition could not be computed: $root", error)
  }

  /** One line of an error of Spark's, whose first says of a barrier only that some task of it failed. */
  def reason(error: Throwable): String = {
    val lines = String.valueOf(error.getMessage).linesIterator.map(_.trim).filter(_.nonEmpty).toSeq
    val after = lines.dropWhile(!_.endsWith("finished unsuccessfully.")).drop(1)
    after.headOption.orElse(lines.headOption).getOrElse(error.toString)
  }
}

private[downpour] object Throwables {
  /** An error and its causes. */
  def chain(error: Throwable): Seq[Throwable] = Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(20).toSeq
}

/** A predictor that did not start or did not end well; the message says why. */
class PredictionFailed(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

/** A try at a partition that failed; attempt is "stage.task", as the servers know it. */
final case class FailedAttempt(partition: Int, attempt: String, host: String, reason: String) {
  def where: String = s"partition $partition, attempt $attempt on $host"
  override def toString: String = s"$where: $reason"
}

/** A partition's worker that failed: the first try of it that did.
  *
  * @param partition which one
  * @param attempt "stage.task", as the servers know it
  * @param host where it ran
  * @param status its exit status; negative for a signal; none if it never ran
  * @param reason one sentence
  * @param hint the likely cause or what to try, or ""
  * @param logTail the last lines of its log
  * @param others the other attempts of the job that failed, the first 20
  */
class WorkerFailed(val partition: Int, val attempt: String, val host: String, val status: Option[Int],
                   val reason: String, val hint: String, val logTail: Seq[String], cause: Throwable = null,
                   val others: Seq[FailedAttempt] = Nil)
    extends TrainingFailed(WorkerFailed.message(partition, attempt, host, status, reason, hint, logTail, others),
                           cause) {

  /** Whether it comes from the end of a server, or of another worker that holds parameters. */
  def follows: Boolean = status.contains(ExitStatus.LostAnother)

  /** Whether the same job may do better when it is started again. */
  def avoidable: Boolean = status.exists(!ExitStatus.Wrong(_))

  /** The same failure with one more hint. */
  def withHint(more: String): WorkerFailed = copy(hint = Seq(hint, more).filter(_.nonEmpty).mkString("; "))

  /** The same failure with the error that brought it to the driver. */
  def withCause(error: Throwable): WorkerFailed = copy(cause = error)

  /** The same failure with the others of its job, and with log lines where it has none. */
  def withOthers(more: Seq[FailedAttempt], log: => Seq[String]): WorkerFailed =
    copy(logTail = if (logTail.isEmpty) log else logTail, others = more.take(WorkerFailed.MostOthers))

  def asAttempt: FailedAttempt = FailedAttempt(partition, attempt, host, reason)

  private def copy(hint: String = hint, logTail: Seq[String] = logTail, cause: Throwable = getCause,
                   others: Seq[FailedAttempt] = others): WorkerFailed =
    new WorkerFailed(partition, attempt, host, status, reason, hint, logTail, cause, others)

  /** All of it on one line, for `fromText`. */
  def toLine: String =
    WorkerFailed.Mark + Json.write(Seq[Any](partition, attempt, host, status.map(Int.box).orNull, reason, hint,
                                            logTail))
}

object WorkerFailed {
  private val Mark = "downpour-failure: "
  private val Line = (Regex.quote(Mark) + """(\[.*\])""").r
  private val MostOfALine = 300
  private val MostOthers = 20

  def apply(identity: Identity, status: Option[Int], reason: String, hint: String = "",
            logTail: Seq[String] = Nil): WorkerFailed =
    new WorkerFailed(identity.partition, identity.attempt, Host.name, status, reason, hint,
                     logTail.takeRight(Tail.Lines).map(_.take(MostOfALine)))

  /** The first failure that a text, such as a Spark error, carries: Spark brings a task's exception to the driver as
    * text only where its stage is a barrier.
    */
  def fromText(text: String): Option[WorkerFailed] =
    Line.findFirstMatchIn(text).flatMap { found =>
      Json.read(found.group(1)) match {
        case Some(Seq(partition: Number, attempt: String, host: String, status, reason: String, hint: String,
                      tail: Seq[_])) =>
          val number = Option(status).collect { case n: Number => n.intValue }
          Some(new WorkerFailed(partition.intValue, attempt, host, number, reason, hint, tail.map(String.valueOf)))
        case _ => None
      }
    }

  private def message(partition: Int, attempt: String, host: String, status: Option[Int], reason: String, hint: String,
                      logTail: Seq[String], others: Seq[FailedAttempt]): String = {
    val how = status.fold("")(number => if (number < 0) s" (signal ${-number})" else s" (exit status $number)")
    (Seq(s"worker of partition $partition on $host, attempt $attempt, failed: $reason$how") ++
      Option.when(hint.nonEmpty)("likely cause: " + hint) ++
      Option.when(others.nonEmpty)("other attempts that failed:") ++
      others.map("    " + _) ++
      Option.when(logTail.nonEmpty)("its last log lines:") ++
      logTail.map("    " + _)).mkString("\n")
  }
}

/** What a Spark task throws for a WorkerFailed: the same message, and the line from which the driver restores it. */
class TaskFailed(val failure: WorkerFailed) extends RuntimeException(failure.getMessage + "\n" + failure.toLine)
