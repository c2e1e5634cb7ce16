resource "aws_ecs_task_definition" "this" {
  for_each = var.names
  family   = each.key
  runtime_platform {
    cpu_architecture = "ARM64"
  }
  container_definitions = local.definitions
}
