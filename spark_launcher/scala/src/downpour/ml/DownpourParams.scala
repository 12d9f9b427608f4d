package downpour.ml

import java.nio.file.{Files, Path, Paths}

import scala.util.matching.Regex

import org.apache.spark.ml.param._
import org.apache.spark.ml.param.shared._

import downpour.{DataError, Job, Json, Placement, TrainingFailed}

/** The Param of job keys by their paths: Map[String, Any] of plain values, an object in metadata. */
private[ml] final class SettingsParam(parent: Params, name: String, doc: String)
    extends Param[Map[String, Any]](parent, name, doc) {
  override def jsonEncode(value: Map[String, Any]): String = Json.write(value)

  override def jsonDecode(json: String): Map[String, Any] =
    Json.readObject(json).getOrElse(
      throw new IllegalArgumentException(s"$name should be an object of job keys, not $json"))
}

/** Params that a Downpour estimator and its model share. What is not set is as the job says, or by its default.
  *
  * Setters stand in the estimators and models: from a trait Java would see them give back the trait.
  */
trait DownpourParams extends Params with HasFeaturesCol with HasLabelCol with HasPredictionCol with HasWeightCol
    with HasValidationIndicatorCol with HasMaxIter with HasStepSize with HasSeed {

  final val featuresCols: StringArrayParam = new StringArrayParam(
    this, "featuresCols", "in place of featuresCol: columns of numbers, in the order of the net's values.")

  final val job: Param[String] = new Param(
    this, "job", "the job: YAML text, or the path of a file of it on the driver. Its net and all else in it can be" +
      " changed by the other params.")

  final val layers: IntArrayParam = new IntArrayParam(
    this, "layers", "in place of a job's net: numbers of values from the features to the classes, such as" +
      " [784, 256, 10], for inner products with ReLU between them; for a regression the last is 1.")

  final val settings: Param[Map[String, Any]] = new SettingsParam(
    this, "settings", "further keys of the job by their paths, such as {'sync.n_push': 10}.")

  final val syncMode: Param[String] = new Param(
    this, "syncMode", "how workers combine what they learn: downpour, asp, bsp, ssp, local_sgd, easgd, peer;" +
      " where not set, as the job says, or downpour.")

  final val numWorkers: IntParam = new IntParam(
    this, "numWorkers", "workers, each for one partition of the data; where not set, as the job says, or 2.")

  final val batchSize: IntParam = new IntParam(
    this, "batchSize", "rows in one worker's step; where not set, as the job says, or 64.")

  final val servers: Param[String] = new Param(
    this, "servers", "where the parameters live: driver, tasks, running, or the addresses of servers that run," +
      " separated by commas.")

  final val repartitionRandomShuffle: BooleanParam = new BooleanParam(
    this, "repartitionRandomShuffle", "deal the rows out to the workers as if at random, however they are sorted, and" +
      " not by the partitions they are in.")
  setDefault(repartitionRandomShuffle, true)

  final val runDir: Param[String] = new Param(
    this, "runDir", "folder on the driver in which each fit makes one for its logs, metrics and model.")

  def getFeaturesCols: Array[String] = $(featuresCols)
  def getJob: String = $(job)
  def getLayers: Array[Int] = $(layers)
  def getSettings: Map[String, Any] = $(settings)
  def getSyncMode: String = $(syncMode)
  def getNumWorkers: Int = $(numWorkers)
  def getBatchSize: Int = $(batchSize)
  /** "driver" where it is not set. */
  def getServers: String = get(servers).getOrElse(Placement.Driver)
  def getRepartitionRandomShuffle: Boolean = $(repartitionRandomShuffle)
  def getRunDir: String = $(runDir)

  /** One column of features, or a list of columns of numbers. */
  private[ml] def features: Either[String, Seq[String]] =
    if (isSet(featuresCols)) Right($(featuresCols).toSeq) else Left($(featuresCol))
}

/** The job that a set of params makes. */
private[ml] object DownpourParams {
  /** By Param, the job's key that it sets. */
  private val Keys = Seq("numWorkers" -> "workers", "maxIter" -> "training.epochs", "batchSize" -> "training.batch",
                         "stepSize" -> "optimizer.learning_rate", "seed" -> "seed", "syncMode" -> "sync.mode",
                         "runDir" -> "run.dir")

  /** The job, checked and with all its defaults, in a file in `folder`. DataError, or TrainingFailed where ps-run
    * refuses.
    *
    * @param loss the type of the last layer, where the net is made of `layers`
    */
  def resolve(params: DownpourParams, folder: Path, loss: String): Job = {
    val own = params.isDefined(params.job)
    val file = if (own) jobFile(params.getJob, folder) else Files.writeString(folder.resolve("job.yaml"), "{}\n")
    if (!own && !params.isDefined(params.layers)) throw new DataError("there is no net: set layers, or job")
    val byParam = (if (params.isDefined(params.layers)) Seq("layers" -> netOf(params.getLayers.toSeq, loss)) else Nil) ++
      Keys.collect { case (name, key) if params.isSet(params.getParam(name)) =>
        name -> Map[String, Any](key -> params.getOrDefault(params.getParam(name)))
      } ++ (if (params.isDefined(params.settings)) Seq("settings" -> params.getSettings) else Nil)
    val wanted = byParam.foldLeft(if (own) Map.empty[String, Any] else Map[String, Any]("name" -> jobName(params.uid)))(
      (all, one) => all ++ one._2)
    val job = try Job.check(file, wanted) catch {
      case error: TrainingFailed =>
        throw new TrainingFailed(inTermsOfParams(error.getMessage, byParam, file, file.startsWith(folder)), error)
    }
    job.copy(path = Files.writeString(folder.resolve("resolved.yaml"), Json.write(job.resolved))) // JSON is YAML
  }

  /** What Job.check says of the file and of the keys that were set beside it, in terms of what its user has set.
    *
    * @param byParam the keys that each param has set, a later one in place of an earlier
    * @param ours whether the file is this object's, of the job's text or of no job
    */
  private def inTermsOfParams(message: String, byParam: Seq[(String, Map[String, Any])], file: Path,
                              ours: Boolean): String = {
    val paramOf = byParam.flatMap { case (name, keys) => keys.keys.map(_ -> name) }.toMap
    val named = "--set ([\\w.]+): ".r.replaceAllIn(message, found =>
      Regex.quoteReplacement(paramOf.get(found.group(1)).fold(found.matched)(name => s"$name (${found.group(1)}): ")))
    val path = Regex.quote(file.toAbsolutePath.toString)
    if (ours) named.replaceFirst(s"^$path was refused \\(status \\d+\\)", "the job was refused")
      .replaceAll(s"$path:(\\d+):", "job, line $1:")
    else named
  }

  /** Path of the job that was given: its own, or a file in `folder` of its text. */
  private def jobFile(job: String, folder: Path): Path = {
    val path = if (job.contains("\n")) None else Some(Paths.get(job)).filter(Files.isRegularFile(_))
    path.getOrElse {
      if (!job.contains("\n") && !job.contains(":")) throw new DataError(s"there is no job file $job")
      Files.writeString(folder.resolve("job.yaml"), job)
    }
  }

  private def netOf(layers: Seq[Int], loss: String): Map[String, Any] = {
    if (layers.size < 2 || layers.min < 1) throw new DataError(
      "layers should be the number of features, those of hidden layers, and the number of classes, each at least 1," +
        s" such as [784, 256, 10]; it is ${layers.mkString("[", ", ", "]")}")
    val net = layers.tail.zipWithIndex.flatMap { case (outputs, index) =>
      val product = Map[String, Any]("name" -> s"ip${index + 1}", "type" -> "inner_product", "outputs" -> outputs)
      if (index == layers.size - 2) Seq(product) else Seq(product, Map("name" -> s"relu${index + 1}", "type" -> "relu"))
    }
    Map("net" -> (net :+ Map[String, Any]("name" -> "loss", "type" -> loss)), "data.shape" -> Seq(layers.head),
        "data.scale" -> 1)
  }

  private def jobName(uid: String): String =
    uid.map(c => if (c.isLetterOrDigit || "._-".contains(c)) c else '-').take(64)
}
