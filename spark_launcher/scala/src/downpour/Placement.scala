package downpour

import java.net.{Inet6Address, InetAddress, Socket}

import org.apache.spark.SparkContext

/** Where a job's parameter servers run.
  *
  * @param addresses "host:port" of each, in place of the job's servers.addresses
  */
private[downpour] final case class Placement(kind: Placement.Kind, addresses: Seq[String])

private[downpour] object Placement {
  sealed trait Kind
  case object OnDriver extends Kind
  case object Running extends Kind
  case object AsTasks extends Kind

  val Driver = "driver"
  private val Address = """unix:.+|(\[[^\]]+\]|[^:/\[\]]+):\d+""".r

  /** Where the servers of a job run; TrainingFailed for what is no place.
    *
    * @param servers "driver", "running" (at the job's own addresses), "tasks", or the addresses of those that run,
    *     separated by commas
    * @param ofJob the job's servers.addresses
    * @param host what driverHost gives; it stands in for loopback, to which the job's addresses default
    * @param peers the shards live in the workers, and only the place where these meet is looked for
    */
  def of(servers: String, ofJob: Seq[String], host: Option[String], peers: Boolean): Placement = servers match {
    case Driver => Placement(OnDriver, ofJob.map(on(host, _)))
    case _ if peers => throw new TrainingFailed(
      s"servers='$servers': with this sync.mode there are none, the workers hold the parameters")
    case "running" => running(ofJob, "the job's servers.addresses")
    case "tasks" => Placement(AsTasks, ofJob)
    case addresses if addresses.contains(':') => running(addresses.split(',').toSeq.map(_.trim), "servers")
    case _ => throw new TrainingFailed(
      s"servers='$servers': it should be driver, running or tasks, or the addresses of servers that run, such as" +
        " node1:7100,node2:7100")
  }

  /** The address by which executors on other hosts reach this one; none where all are on this host. */
  def driverHost(context: SparkContext): Option[String] =
    context.getConf.getOption("spark.driver.host").filter(!isLoopback(_)).filter(_ =>
      !context.master.matches("""local(-cluster)?(\[.*)?"""))

  def isLoopback(host: String): Boolean = {
    val bare = host.stripPrefix("[").stripSuffix("]")
    val literal = bare.contains(':') || bare.matches("[0-9.]+")
    bare == "localhost" || literal && InetAddress.getByName(bare).isLoopbackAddress
  }

  /** "host:0", any port, of this end of a connection. */
  def anyPortAt(connection: Socket): String = {
    val own = connection.getLocalAddress
    if (own.isInstanceOf[Inet6Address]) s"[${own.getHostAddress}]:0" else s"${own.getHostAddress}:0"
  }

  private def on(host: Option[String], address: String): String = {
    val (own, port) = address.splitAt(address.lastIndexOf(':'))
    host.filter(_ => isLoopback(own)).fold(address)(other => (if (other.contains(':') && !other.startsWith("["))
      s"[$other]" else other) + port)
  }

  private def running(addresses: Seq[String], where: String): Placement = {
    addresses.find(!Address.matches(_)).foreach(address => throw new TrainingFailed(
      s"$where: '$address' should be host:port, such as node1:7100"))
    addresses.find(_.endsWith(":0")).foreach(address => throw new TrainingFailed(
      s"$where: $address names no port, and servers that run already have one: what ps-server --listen, or the job that" +
        " they were started with, says"))
    Placement(Running, addresses)
  }
}
