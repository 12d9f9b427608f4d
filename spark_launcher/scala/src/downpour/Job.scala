package downpour

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Path

/** What the launcher needs of a job file, and all of it as ps-run resolved it.
  *
  * @param rowValues values of a sample
  * @param outputs values of a sample before the loss
  * @param classes that labels count; 0 where they are numbers
  * @param strong all its workers must run at once
  * @param peers they hold the shards themselves
  */
private[downpour] final case class Job(path: Path, workers: Int, rowValues: Int, outputs: Int, classes: Int,
                                       resolved: Map[String, Any], strong: Boolean, peers: Boolean) {
  def section(name: String): Map[String, Any] = resolved.get(name).flatMap(Json.asObject).getOrElse(Map.empty)

  /** Its servers.addresses. */
  def servers: Seq[String] = section("servers").get("addresses").collect { case all: Seq[_] => all.map(_.toString) }
    .getOrElse(Nil)

  /** The type of its net's last layer. */
  def lossLayer: String =
    resolved("net").asInstanceOf[Seq[_]].lastOption.flatMap(Json.asObject).fold("")(_("type").toString)
}

private[downpour] object Job {
  /** Reads and checks a job file by ps-run, with `settings` in place of its own keys of these paths.
    *
    * TrainingFailed with ps-run's own message where it refuses.
    */
  def check(file: Path, settings: Map[String, Any] = Map.empty): Job = {
    val path = file.toAbsolutePath
    val command = Seq(Programs.path(Programs.Run), "--check", "--json", path.toString) ++ flags(settings)
    val (status, said) = run(command)
    val answer = Json.readObject(said).getOrElse(Map.empty[String, Any])
    if (status != 0 || !answer.get("ok").contains(true)) {
      val detail = answer.get("error").map(_.toString).getOrElse(said.trim)
      throw new TrainingFailed(Supervisor.message(s"$path was refused (status $status)", detail))
    }
    val (job, net) = (Json.asObject(answer("job")).get, Json.asObject(answer("net")).get)
    Job(path, job("workers").toString.toInt, net("values").toString.toInt, net("outputs").toString.toInt,
        net("classes").toString.toInt, job, answer.get("strong").contains(true), answer.get("peers").contains(true))
  }

  /** ps-run's flags for keys in place of a job's own. */
  def flags(settings: Map[String, Any]): Seq[String] =
    settings.toSeq.flatMap { case (key, value) => Seq("--set", s"$key=${Json.write(value)}") }

  /** Its exit status, and what it said: on standard error where it failed there. */
  private def run(command: Seq[String]): (Int, String) =
    try {
      val process = new ProcessBuilder(command: _*).start()
      process.getOutputStream.close()
      val errors = new StringBuffer
      val reader = Child.onLines("downpour-check", process.getErrorStream)(line => errors.append(line).append('\n'))
      val said = new String(process.getInputStream.readAllBytes, UTF_8)
      process.waitFor()
      reader.join()
      (ExitStatus.of(process), if (said.trim.isEmpty) errors.toString else said)
    } catch {
      case error: IOException => throw new TrainingFailed(Programs.whyNotStarted(command.head, error), error)
    }
}
