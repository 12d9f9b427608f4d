package downpour

import scala.annotation.tailrec
import scala.concurrent.duration._

import org.apache.spark.SparkContext

/** How many tasks Spark runs at once, and whether all workers of a strong job can, found out before anything is
  * started: Spark itself says no only after 40 tries of 15 s, with the servers up all that time.
  */
private[downpour] object Slots {
  private val Executors = 30.seconds // how long executors that are on their way are waited for
  private val LookMs = 200L

  val TooFew: String =
    "the job's sync mode is strong, so all partitions run at once, and Spark has fewer slots than the job has workers:" +
      " give it more cores, or the job fewer workers"
  val Dynamic: String =
    "the job's sync mode is strong, so all partitions run at once, as a barrier stage, which Spark refuses with dynamic" +
      " allocation: set spark.dynamicAllocation.enabled=false and as many executors as it takes, or choose a weak sync" +
      " mode, such as downpour, whose partitions may come in waves"

  /** TrainingFailed where Spark can't run so many tasks at once. Waits for executors that may be on their way. */
  def check(context: SparkContext, workers: Int): Unit = {
    if (isDynamic(context)) throw new TrainingFailed(Dynamic)
    concurrentTasks(context).filter(_ < workers).foreach { slots =>
      if (!isLocal(context)) println(
        s"The job's $workers workers run all at once, and Spark has $slots slots so far: waiting up to $Executors for" +
          " executors.")
      val found = awaitTasks(context, workers).getOrElse(0)
      if (found < workers) throw new TrainingFailed(s"$TooFew ($found slots, $workers workers)")
    }
  }

  /** How many tasks run at once, as soon as these are so many; none where that can't be seen. */
  def awaitTasks(context: SparkContext, wanted: Int): Option[Int] = {
    val deadline = (if (isLocal(context)) Duration.Zero else Executors).fromNow
    @tailrec def look(): Option[Int] = {
      val found = concurrentTasks(context)
      if (found.forall(_ >= wanted) || deadline.isOverdue()) found
      else {
        Thread.sleep(LookMs)
        look()
      }
    }
    look()
  }

  def isDynamic(context: SparkContext): Boolean =
    !isLocal(context) && context.getConf.getBoolean("spark.dynamicAllocation.enabled", false)

  private def isLocal(context: SparkContext): Boolean = context.master.matches("""local(\[.*)?""")

  /** What the barrier scheduler itself goes by, which is not for others by its name. */
  private def concurrentTasks(context: SparkContext): Option[Int] =
    try {
      val profiles = classOf[SparkContext].getMethod("resourceProfileManager").invoke(context)
      val profile = profiles.getClass.getMethod("defaultResourceProfile").invoke(profiles)
      classOf[SparkContext].getMethod("maxNumConcurrentTasks", profile.getClass).invoke(context, profile) match {
        case tasks: Integer => Some(tasks)
        case _ => None
      }
    } catch { case _: ReflectiveOperationException => None } // another Spark: its own check remains
}
