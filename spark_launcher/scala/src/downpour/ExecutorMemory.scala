package downpour

import java.io.File
import java.nio.file.{Files, Path, Paths}

import org.apache.spark.SparkEnv

/** What one executor has beside its heap, in bytes, and how many tasks it runs at once. It travels to executors.
  *
  * A container's memory beside the JVM's heap is spark.executor.memoryOverhead. What the JVM itself takes outside of
  * its heap comes out of it, and each task's worker:
  *
  *     a worker's share = 3/4 of the overhead / tasks at once, and no less than 64 MiB
  *
  * @param slots 0 where the settings do not say: then an executor has all cores of its host, for tasks of `taskCpus`
  *   each
  */
private[downpour] final case class ExecutorMemory(overhead: Long, slots: Int, taskCpus: Int = 1) {
  /** What one of a run's `tasks`, its workers and servers that are tasks, may take, on an executor's host with so many
    * CPUs.
    */
  def share(tasks: Int, hostCpus: Int = Runtime.getRuntime.availableProcessors): Long = {
    val atOnce = if (slots > 0) slots else math.max(1, hostCpus / taskCpus)
    math.max(overhead * 3 / 4 / math.min(atOnce, tasks), ExecutorMemory.Least)
  }
}

private[downpour] object ExecutorMemory {
  private val MiB = 1L << 20
  private val Least = 64 * MiB
  private val Units =
    Map("b" -> 1L, "k" -> (1L << 10), "m" -> MiB, "g" -> (1L << 30), "t" -> (1L << 40), "p" -> (1L << 50))
  private val Size = """(\d+)\s*([bkmgtp])?b?""".r
  private val Local = """local(?:\[(\d+|\*)(?:,.*)?\])?""".r
  private val LocalCluster = """local-cluster\[\d+,(\d+),.*""".r

  /** What Spark's settings say of an executor; none where nothing bounds its memory, as with local[N].
    *
    * The overhead is spark.executor.memoryOverhead. Where that is not set it is what Spark itself makes of
    * spark.executor.memory, which YARN and Kubernetes have a default of.
    */
  def of(setting: String => Option[String]): Option[ExecutorMemory] = {
    val master = setting("spark.master").getOrElse("").replace(" ", "")
    val taskCpus = setting("spark.task.cpus").fold(1)(_.toInt)
    size(setting("spark.executor.memoryOverhead")).orElse(defaultOverhead(setting, master)).map(
      ExecutorMemory(_, cores(setting, master) / taskCpus, taskCpus))
  }

  /** In a task: the first of Spark's local folders that can be written to, or the system's for temporary files. */
  def spoolFolder(): Path =
    localFolders.map(_.trim).filter(_.nonEmpty).map(Paths.get(_)).find(Files.isWritable)
      .getOrElse(Paths.get(System.getProperty("java.io.tmpdir")))

  /** By the variables that YARN, Kubernetes and the standalone master set, then by the setting. */
  private def localFolders: Seq[String] = {
    def variable(name: String, separator: Char) = sys.env.get(name).filter(_.nonEmpty).map(_.split(separator).toSeq)
    variable("LOCAL_DIRS", ',').orElse(variable("SPARK_EXECUTOR_DIRS", File.pathSeparatorChar))
      .orElse(variable("SPARK_LOCAL_DIRS", ','))
      .orElse(Option(SparkEnv.get).flatMap(_.conf.getOption("spark.local.dir")).map(_.split(',').toSeq)).getOrElse(Nil)
  }

  private def defaultOverhead(setting: String => Option[String], master: String): Option[Long] = {
    val kubernetes = master.startsWith("k8s:")
    val memory = size(setting("spark.executor.memory")).orElse(
      Option.when(kubernetes || master.startsWith("yarn"))(1024 * MiB))
    val factor = setting("spark.executor.memoryOverheadFactor").orElse(
      Option.when(kubernetes)(setting("spark.kubernetes.memoryOverheadFactor").getOrElse("0.1")))
    val least = size(setting("spark.executor.minMemoryOverhead")).getOrElse(384 * MiB)
    memory.filterNot(_ => Local.matches(master)).map(bytes =>
      math.max((bytes * factor.fold(0.1)(_.toDouble)).toLong, least))
  }

  /** Cores of one executor; 0 where only its host can say. */
  private def cores(setting: String => Option[String], master: String): Int = master match {
    case LocalCluster(count) => count.toInt
    case Local(null) => 1
    case Local("*") => 0
    case Local(count) => count.toInt
    case _ => setting("spark.executor.cores").map(_.toInt).getOrElse(
      if (master.startsWith("yarn") || master.startsWith("k8s:")) 1 else 0)
  }

  /** Bytes of a size as Spark writes it, in MiB where it has no unit; none for what is no size. */
  private def size(text: Option[String]): Option[Long] = text.map(_.trim.toLowerCase).collect {
    case Size(count, unit) => count.toLong * Units(Option(unit).getOrElse("m"))
  }
}
