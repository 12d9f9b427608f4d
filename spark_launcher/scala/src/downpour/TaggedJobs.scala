package downpour

import java.util.UUID

import scala.collection.mutable
import scala.concurrent.duration._

import org.apache.spark.scheduler.{SparkListener, SparkListenerJobEnd, SparkListenerJobStart, SparkListenerTaskEnd}
import org.apache.spark.{SparkContext, TaskFailedReason, TaskKilled}

/** A task that did not end well, as Spark tells it.
  *
  * @param id grows with each task of the application
  * @param killed by Spark, for another has its place or its stage was given up
  * @param text the error, with stack traces
  */
private[downpour] final case class FailedTask(id: Long, partition: Int, host: String, killed: Boolean, text: String)

/** Some Spark jobs, by a tag of their own: which of their tasks fail, and their end. It listens until it is closed. Any
  * thread may ask.
  */
private[downpour] final class TaggedJobs(context: SparkContext) extends SparkListener with AutoCloseable {
  private val tag = "downpour-" + UUID.randomUUID
  // Guarded by this object:
  private val stages = mutable.Set.empty[Int]
  private val running = mutable.Set.empty[Int] // jobs
  private val failed = mutable.Map.empty[Long, FailedTask]
  context.addSparkListener(this)

  /** The jobs that `start` starts are of them; where it throws, an interrupt say, they are cancelled. */
  def of[R](start: => R): R = {
    context.addJobTag(tag)
    try start
    catch {
      case error: Throwable =>
        context.cancelJobsWithTag(tag)
        throw error
    } finally context.removeJobTag(tag)
  }

  /** The tasks that have failed so far, in the order in which they began; once Spark has told of the ends of their jobs,
    * if they have ended.
    */
  def failedTasks(): Seq[FailedTask] = {
    val deadline = TaggedJobs.Told.fromNow
    while (synchronized(running.nonEmpty) && deadline.hasTimeLeft()) Thread.sleep(20)
    synchronized(failed.values.toSeq.sortBy(_.id))
  }

  override def close(): Unit = context.removeSparkListener(this)

  override def onJobStart(start: SparkListenerJobStart): Unit =
    if (Option(start.properties).flatMap(all => Option(all.getProperty(TaggedJobs.Tags))).exists(_.contains(tag)))
      synchronized {
        running += start.jobId
        stages ++= start.stageIds
      }

  override def onJobEnd(end: SparkListenerJobEnd): Unit = synchronized(running -= end.jobId)

  override def onTaskEnd(end: SparkListenerTaskEnd): Unit = synchronized {
    if (stages(end.stageId)) end.reason match {
      case reason: TaskFailedReason =>
        val task = end.taskInfo
        failed(task.taskId) = FailedTask(task.taskId, task.partitionId, task.host, reason.isInstanceOf[TaskKilled],
                                         reason.toErrorString)
      case _ => ()
    }
  }
}

private object TaggedJobs {
  private val Tags = "spark.job.tags"
  private val Told = 2.seconds
}
