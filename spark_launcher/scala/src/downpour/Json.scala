package downpour

import java.{util => ju}

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.core.JsonProcessingException
import com.fasterxml.jackson.databind.ObjectMapper

/** JSON as plain values: Map[String, Any], Seq[Any], String, Number, Boolean and null. */
private[downpour] object Json {
  private val mapper = new ObjectMapper

  /** None for what is no JSON. */
  def read(text: String): Option[Any] =
    try Some(toScala(mapper.readValue(text, classOf[Object])))
    catch { case _: JsonProcessingException => None }

  def readObject(text: String): Option[Map[String, Any]] = read(text).flatMap(asObject)

  def asObject(value: Any): Option[Map[String, Any]] = value match {
    case map: Map[_, _] => Some(map.map { case (key, value) => (key.toString, value) })
    case _ => None
  }

  /** The objects of a list; none of what is no list. */
  def objects(list: Option[Any]): Seq[Map[String, Any]] =
    list.collect { case all: Seq[_] => all.flatMap(asObject) }.getOrElse(Nil)

  def write(value: Any): String = mapper.writeValueAsString(toJava(value))

  /** The same with Scala's collections in place of Java's, through and through. */
  def toScala(value: Any): Any = value match {
    case map: ju.Map[_, _] => map.asScala.iterator.map { case (key, value) => (key.toString, toScala(value)) }.toMap
    case list: ju.List[_] => list.asScala.iterator.map(toScala).toVector
    case array: Array[_] => array.iterator.map(toScala).toVector
    case map: scala.collection.Map[_, _] =>
      map.iterator.map { case (key, value) => (key.toString, toScala(value)) }.toMap
    case list: Iterable[_] => list.iterator.map(toScala).toVector
    case other => other
  }

  private def toJava(value: Any): Any = value match {
    case map: scala.collection.Map[_, _] =>
      val out = new ju.LinkedHashMap[String, Any]
      map.foreach { case (key, value) => out.put(key.toString, toJava(value)) }
      out
    case list: Iterable[_] => list.map(toJava).toSeq.asJava
    case array: Array[_] => array.toSeq.map(toJava).asJava
    case other => other
  }
}
