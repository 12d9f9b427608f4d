package downpour

import java.io.{File, IOException, InputStream}
import java.nio.file.{Files, Path, StandardCopyOption}
import java.nio.file.attribute.PosixFilePermissions
import java.security.{DigestInputStream, MessageDigest}
import java.util.HexFormat

import scala.util.Using

import org.apache.spark.{SparkEnv, SparkFiles}

/** The native programs, which the jar carries, and what to say where one cannot be started.
  *
  * They are unpacked once in a JVM, into a folder that nobody else can enter, beside the files that Spark keeps for
  * this application; it goes with the JVM. Any thread may ask.
  */
private[downpour] object Programs {
  val Worker = "ps-worker"
  val Server = "ps-server"
  val Run = "ps-run"
  val Predict = "ps-predict"

  private val Resources = "/downpour/bin/"
  private var unpacked: Option[Unpacked] = None

  private final case class Program(name: String, size: Long, sha256: String)

  private final class Unpacked(val folder: Path, programs: Seq[Program]) {
    /** Whether all are there as they were: whoever cleans temporary folders may have been here. */
    def whole: Boolean = programs.forall { program =>
      val path = folder.resolve(program.name)
      Files.isExecutable(path) && Files.size(path) == program.size
    }
  }

  /** Path of a program on this host. Throws TrainingFailed where the jar has none or it cannot be unpacked. */
  def path(name: String): String = synchronized {
    if (!unpacked.exists(_.whole)) unpacked = Some(unpack())
    unpacked.get.folder.resolve(name).toString
  }

  private def unpack(): Unpacked = {
    val programs = manifest()
    try {
      val folder = Files.createTempDirectory(root(), "downpour-", PosixFilePermissions.asFileAttribute(
        PosixFilePermissions.fromString("rwx------")))
      Runtime.getRuntime.addShutdownHook(new Thread(() => Folder.remove(folder)))
      programs.foreach(write(_, folder))
      new Unpacked(folder, programs)
    } catch {
      case error: IOException => throw new TrainingFailed(s"the native programs could not be unpacked: $error", error)
    }
  }

  private def write(program: Program, folder: Path): Unit = {
    val digest = MessageDigest.getInstance("SHA-256")
    val file = folder.resolve(program.name)
    Using.resource(new DigestInputStream(resource(program.name), digest))(
      Files.copy(_, file, StandardCopyOption.REPLACE_EXISTING))
    val found = HexFormat.of.formatHex(digest.digest)
    if (found != program.sha256) throw new IOException(s"${program.name} in the jar is damaged: its SHA-256 is $found")
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwx------"))
  }

  /** What the jar carries, by the lines "NAME SIZE SHA-256" that its build left in it. */
  private def manifest(): Seq[Program] =
    Using.resource(resource("manifest")) { in =>
      new String(in.readAllBytes, "UTF-8").linesIterator.map(_.split(' ')).collect {
        case Array(name, size, sha256) => Program(name, size.toLong, sha256)
      }.toVector
    }

  private def resource(name: String): InputStream =
    Option(getClass.getResourceAsStream(Resources + name)).getOrElse(throw new TrainingFailed(
      s"$name is not in the jar: it was built without its programs; take the jar that tools/build makes"))

  private def root(): Path = {
    val ofSpark = if (SparkEnv.get == null) None else Some(new File(SparkFiles.getRootDirectory()).getAbsoluteFile)
    ofSpark.filter(_.canWrite).getOrElse(new File(System.getProperty("java.io.tmpdir"))).toPath
  }

  /** One sentence for the error of a ProcessBuilder. */
  def whyNotStarted(program: String, error: IOException): String = {
    val machine = s"${System.getProperty("os.arch")}, ${System.getProperty("os.name")}"
    """error=(\d+)""".r.findFirstMatchIn(String.valueOf(error.getMessage)).map(_.group(1).toInt) match {
      case Some(8) => s"$program is not a program for this machine ($machine)"
      case Some(2) =>
        s"$program needs a dynamic loader that is not here ($machine): it was built for x86-64 Linux with glibc"
      case Some(13) => s"$program may not be executed: its file system is mounted noexec, or its mode lacks x"
      case _ => s"$program cannot be started: ${error.getMessage}"
    }
  }

  /** What to do where the dynamic loader refused a program; "" if it did not. */
  def loaderHint(stderr: String): String =
    if (stderr.contains("error while loading shared libraries"))
      "a library that the program needs is not installed on this host (Debian's packages of it are listed in" +
        " tools/debian-packages.txt)"
    else if (stderr.contains("GLIBC") && stderr.contains("not found"))
      "this host's C or C++ library is older than the one the program was built with"
    else ""
}
