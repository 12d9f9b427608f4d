package downpour

import scala.concurrent.duration._

import org.apache.spark.SparkContext

/** How ps-run comes to the servers of a run; those that are tasks have ended once this is closed.
  *
  * @param settings keys of the job in place of its own
  * @param attach they run already, and ps-run neither starts nor ends them
  * @param stage whose tasks they are, if they are
  */
private[downpour] final case class Servers(settings: Map[String, Any], attach: Boolean = false,
                                           stage: Option[ServerStage] = None) extends AutoCloseable {
  /** How many of Spark's tasks they take. */
  def tasks: Int = stage.fold(0)(_.count)

  /** Why servers that are tasks have ended, if they have.
    *
    * @param follows someone says that it has lost one, so that it will be known in a moment
    */
  def failure(follows: Boolean = false): Option[TrainingFailed] =
    stage.flatMap(_.failure(if (follows) Servers.Notice else Duration.Zero))

  override def close(): Unit = stage.foreach(_.close())
}

private[downpour] object Servers {
  private val Notice = 5.seconds

  /** Where the servers of a run are to be. TrainingFailed where they cannot.
    *
    * @param where as Placement.of takes it
    */
  def place(context: SparkContext, job: Job, where: String): Placement = {
    val placed = Placement.of(where, job.servers, Placement.driverHost(context), job.peers)
    if (placed.kind == Placement.AsTasks) checkRoom(context, job, job.servers.size)
    placed
  }

  /** The servers of a run, started where they are tasks. TrainingFailed where they do not start. */
  def start(context: SparkContext, job: Job, placed: Placement): Servers = {
    val host = Placement.driverHost(context)
    placed.kind match {
      case Placement.AsTasks => asTasks(context, job, host.getOrElse("127.0.0.1"))
      case Placement.Running => Servers(Map("servers.addresses" -> placed.addresses), attach = true)
      case Placement.OnDriver if placed.addresses == job.servers => Servers(Map.empty)
      case Placement.OnDriver =>
        println(s"Executors are on other hosts, so ${if (job.peers) "the workers meet" else "the servers listen"} on" +
          s" ${host.get}, by which they reach this one, and not on loopback.")
        Servers(Map("servers.addresses" -> placed.addresses))
    }
  }

  private def asTasks(context: SparkContext, job: Job, host: String): Servers = {
    val stage = ServerStage.start(context, job, job.servers.size, host)
    try {
      val listening = stage.awaitStarted()
      Servers(Map("servers.addresses" -> listening.map(_.address),
                  "servers.metrics_addresses" -> listening.map(_.metrics)), attach = true, Some(stage))
    } catch {
      case error: Throwable =>
        stage.close()
        throw error
    }
  }

  /** Refuses tasks for servers and workers that could never run at the same time. */
  private def checkRoom(context: SparkContext, job: Job, servers: Int): Unit = {
    if (Slots.isDynamic(context)) throw new TrainingFailed(
      "servers='tasks' needs a barrier stage, which dynamic allocation refuses: set" +
        " spark.dynamicAllocation.enabled=false, or let the servers run elsewhere")
    val workers = if (job.strong) job.workers else 1
    Slots.awaitTasks(context, servers + workers).filter(_ < servers + workers).foreach(slots =>
      throw new TrainingFailed(
        s"servers='tasks': $servers servers and $workers of ${job.workers} workers must run at the same time, and Spark" +
          s" has $slots slots: give it more cores, or the job fewer workers or servers.addresses"))
  }
}
